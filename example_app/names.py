"""File names as HTTP has them."""

import re
from urllib.parse import quote


def attachment(name: str) -> str:
    """Return the value of Content-Disposition that saves a file as `name` (RFC 6266, RFC 8187).

    Old clients read the plain name, in which everything beyond ASCII is replaced; all others read the encoded one.
    """
    plain = re.sub(r'["\\]', "_", name.encode("ascii", "replace").decode().replace("?", "_"))
    value = f'attachment; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"
