"""HTML pages of one file that work offline, and what they have in common."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image

from translate.io.images import UInt8, shrink, to_channels

SMALL = 64  # px a side; pictures up to this are encoded exactly and enlarged pixel by pixel
SHARED = "translate.viz"  # the package whose templates every page may include


def render_page(package: str, template: str, **values: object) -> str:
    """Fill in a template of a package's folder `templates`; every value is escaped.

    Args:
        package: Such as "translate.evaluation"; its templates may include those of this package:
            head.html (the policy that nothing comes from elsewhere), page.css (colours and text),
            stage.css and stage.js (the large view).
        template: The file's name.
        values: What the template names; a missing one is an error.
    """
    loaders = [PackageLoader(name) for name in dict.fromkeys((package, SHARED))]
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def to_data_uri(pixels: UInt8, side: int = 256, exact: bool = True) -> str:
    """Encode a picture as a data: URI of a WebP, lossless up to 64 px a side.

    Args:
        pixels: uint8 (H, W, C), C 1 or 3.
        side: pixels; a picture whose longer side exceeds it is made smaller.
        exact: whether small pictures are lossless, which takes about four times the bytes.
    """
    small = to_channels(shrink(pixels, side), 3)
    lossless = exact and max(small.shape) <= SMALL
    buffer = BytesIO()
    Image.fromarray(small).save(
        buffer, "WEBP", lossless=lossless, quality=0 if lossless else 90, method=0
    )
    return "data:image/webp;base64," + b64encode(buffer.getvalue()).decode()
