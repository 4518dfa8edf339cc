"""The pages made from the figures: the gallery, and the findings in the README."""

from pathlib import Path

from minilora import storage
from minilora.gallery.build import load
from minilora.gallery.registry import FIGURES, Figure

BEGIN, END = "<!-- findings:begin -->", "<!-- findings:end -->"
OPENING = """# Figures

`make figures` computes the headline figures, `make all-figures` all of them, `python -m minilora figures NAME` one;
`make redraw` draws them again from their numbers. Each JSON file holds the numbers, the config and seeds, the
tolerance of a check, and where the numbers came from. This page is generated from those files.
"""


def write_pages(out: Path) -> None:
    """Write the gallery (README.md beside the figures) and, in a checkout, the findings block of the README."""
    out = Path(out)
    done = [figure for figure in FIGURES if (out / f"{figure.name}.json").is_file()]
    storage.write_text(out / "README.md", _gallery(done, out))
    readme = out.resolve().parent / "README.md"
    if readme.is_file() and BEGIN in (text := readme.read_text(encoding="utf-8")):
        head, rest = text.split(BEGIN)
        storage.write_text(readme, f"{head}{BEGIN}\n{_findings(done, out)}\n{END}{rest.split(END)[1]}")


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: a sample says "__str__", which is not meant bold, and 64*256 is not slanted."""
    return text.replace("_", r"\_").replace("*", r"\*")


def _gallery(figures, out):
    parts = [OPENING, "\n".join(f"- [{figure.name}](#{figure.name}): {figure.question}" for figure in figures) + "\n"]
    return "\n".join([*parts, *(_section(figure, out) for figure in figures)])


def _section(figure: Figure, out):
    caption = escape_markdown(load(figure, out)["caption"])
    links = f"[numbers]({figure.name}.json), [SVG]({figure.name}.svg)"
    return f"## {figure.name}\n\n{figure.question}\n\n![{figure.question}]({figure.name}.png)\n\n{caption} ({links})\n"


def _findings(figures, out):
    return "\n".join(
        f"- **[{figure.name}](figures/{figure.name}.png)** {escape_markdown(load(figure, out)['caption'])}"
        for figure in figures
        if figure.headline
    )
