"""Media types by file name: a fixed table, since a server's answers should not depend on /etc/mime.types."""
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

TYPES = {
    "application/atom+xml": "atom",
    "application/epub+zip": "epub",
    "application/gzip": "gz tgz",
    "application/java-archive": "jar war ear",
    "application/json": "json map",
    "application/ld+json": "jsonld",
    "application/manifest+json": "webmanifest",
    "application/msword": "doc",
    "application/pdf": "pdf",
    "application/postscript": "ps eps ai",
    "application/rss+xml": "rss",
    "application/rtf": "rtf",
    "application/sql": "sql",
    "application/toml": "toml",
    "application/vnd.apple.mpegurl": "m3u8",
    "application/vnd.debian.binary-package": "deb",
    "application/vnd.google-earth.kml+xml": "kml",
    "application/vnd.google-earth.kmz": "kmz",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-fontobject": "eot",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.graphics": "odg",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.sqlite3": "sqlite db",
    "application/wasm": "wasm",
    "application/x-7z-compressed": "7z",
    "application/x-bzip2": "bz2",
    "application/x-rpm": "rpm",
    "application/x-tar": "tar",
    "application/x-x509-ca-cert": "der pem crt",
    "application/x-xz": "xz",
    "application/xhtml+xml": "xhtml",
    "application/xml": "xsl xsd",
    "application/yaml": "yaml yml",
    "application/zip": "zip whl",
    "application/zstd": "zst",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/midi": "mid midi",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg oga opus",
    "audio/wav": "wav",
    "font/otf": "otf",
    "font/ttf": "ttf",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "image/apng": "apng",
    "image/avif": "avif",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/jpeg": "jpg jpeg",
    "image/jxl": "jxl",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tif tiff",
    "image/webp": "webp",
    "image/x-icon": "ico",
    "text/calendar": "ics",
    "text/css": "css",
    "text/csv": "csv",
    "text/html": "html htm shtml",
    "text/javascript": "js mjs",
    "text/markdown": "md",
    "text/plain": "txt log conf ini c h py pyx pxd sh",
    "text/vcard": "vcf",
    "text/vtt": "vtt",
    "text/xml": "xml",
    "video/mp2t": "ts",
    "video/mp4": "mp4 m4v",
    "video/mpeg": "mpg mpeg",
    "video/ogg": "ogv",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/x-msvideo": "avi",
}

cdef enum:
    SLOTS = 512                     # a power of two, well above the number of extensions
    EXTENSION_OCTETS = 12

cdef struct Slot:
    uint8_t[12] extension           # NUL-padded; empty: free
    const char *type

cdef Slot[512] slots
cdef list kept = []                 # the strings that the slots point into


cdef inline uint32_t place_of(const uint8_t *extension) noexcept nogil:
    cdef uint32_t i, hash = 0
    for i in range(EXTENSION_OCTETS):
        hash = hash * 31 + extension[i]
    return hash & (SLOTS - 1)


cdef uint32_t find(const uint8_t *extension) noexcept nogil:
    """The extension's slot, or the free one where it would go."""
    cdef uint32_t i, at = place_of(extension)
    while slots[at].extension[0] != 0:
        for i in range(EXTENSION_OCTETS):
            if slots[at].extension[i] != extension[i]:
                break
        else:
            return at
        at = (at + 1) & (SLOTS - 1)
    return at


cdef const char *mime_type(const uint8_t *path, uint32_t count) noexcept nogil:
    """See mime.pxd."""
    cdef uint8_t[12] extension
    cdef uint32_t i, start = count
    memset(extension, 0, EXTENSION_OCTETS)
    while start > 0 and path[start - 1] != c"." and path[start - 1] != c"/":
        start -= 1
    if start > 0 and path[start - 1] == c"." and 0 < count - start <= EXTENSION_OCTETS:
        for i in range(count - start):
            extension[i] = path[start + i] | (0x20 if c"A" <= path[start + i] <= c"Z" else 0)
        i = find(extension)
        if slots[i].extension[0] != 0:
            return slots[i].type
    return b"application/octet-stream"


cdef int fill_table() except -1:
    cdef uint8_t[12] padded
    cdef bytes text, extension
    cdef uint32_t at
    for name, extensions in TYPES.items():
        text = name.encode()
        kept.append(text)
        for each in extensions.split():
            extension = each.encode().ljust(EXTENSION_OCTETS, b"\0")
            for at in range(EXTENSION_OCTETS):
                padded[at] = extension[at]
            at = find(padded)
            slots[at].extension = padded
            slots[at].type = text
    return 0


fill_table()
