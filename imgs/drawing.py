"""What the diagrams share: boxes, circles, arrows and the frame of an SVG file.

Square corners are computed, round ones are drawn at random; forward arrows are solid,
the gradient's are dashed.
"""

from pathlib import Path

from vaelib.figures import PALETTE

BOX = (
    '<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="#fff" '
    'stroke="{colour}" stroke-width="2.5"/>'
)
ELLIPSE = (
    '<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" fill="#fff" stroke="{colour}" '
    'stroke-width="2.5"/>'
)
TEXT = '<text x="{x}" y="{y}" font-size="{size}" text-anchor="middle">{text}</text>'
FORWARD = (
    '<path d="{path}" fill="none" stroke="#333" stroke-width="2.5" '
    'marker-end="url(#tip)"/>'
)
BACKWARD = (
    '<path d="{path}" fill="none" stroke="{colour}" stroke-width="3.5" '
    'stroke-dasharray="9 5" marker-end="url(#back)"/>'
)
TIP = (
    '<defs><marker id="{name}" viewBox="0 0 10 10" refX="8" refY="5" '
    'markerWidth="{size}"\n markerHeight="{size}" orient="auto">'
    '<path d="M0 0L10 5L0 10z" fill="{colour}"/></marker></defs>'
)
GRADIENT = PALETTE["train"]
GRADIENT_TIP = TIP.format(name="back", size=5, colour=GRADIENT)


def text(x, y, line, size=19):
    """A line of text with the middle of its baseline at (x, y)."""
    return TEXT.format(x=x, y=y, size=size, text=line)


def label(x, y, lines, size=19):
    """Lines of text with their middle at (x, y)."""
    first = y + size * 0.35 - (len(lines) - 1) * size * 0.62
    return "\n".join(
        text(x, first + i * size * 1.24, line, size) for i, line in enumerate(lines)
    )


def box(x, y, width, height, colour, lines, size=19):
    """A labelled box with its middle at (x, y): a number that is computed."""
    corner = {"x": x - width / 2, "y": y - height / 2}
    outline = BOX.format(**corner, width=width, height=height, colour=colour)
    return f"{outline}\n{label(x, y, lines, size)}"


def ellipse(x, y, width, height, colour, lines, size=19):
    """A labelled ellipse with its middle at (x, y): a number that is drawn."""
    outline = ELLIPSE.format(x=x, y=y, rx=width / 2, ry=height / 2, colour=colour)
    return f"{outline}\n{label(x, y, lines, size)}"


def forward(path):
    """An arrow along an SVG path, the way that values go."""
    return FORWARD.format(path=path)


def backward(path):
    """An arrow along an SVG path, the way that gradients go."""
    return BACKWARD.format(path=path, colour=GRADIENT)


def write(name, width, height, title, description, parts):
    """Write the parts into an SVG file of this folder, on a white ground.

    title and description are its text alternative. `backward` arrows need GRADIENT_TIP
    among the parts.
    """
    body = "\n".join(parts)
    svg = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
role="img"
 font-family="Helvetica, Arial, sans-serif" fill="#111">
<title>{title}</title>
<desc>{description}</desc>
{TIP.format(name="tip", size=7, colour="#333")}
<rect width="{width}" height="{height}" rx="12" fill="#fff"/>
{body}
</svg>
"""
    Path(__file__).with_name(name).write_text(svg, "utf-8")
