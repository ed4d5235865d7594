TYPES: dict[str, str]
"""File name extensions, without dot and separated by spaces, by media type."""
