from underpass.link.link import LinkBase

class SegmenterLink(LinkBase):
    """A link over `inner` that offers segmentation offload and cuts packets up itself, as a device does."""

    def __init__(self, inner: LinkBase) -> None: ...
