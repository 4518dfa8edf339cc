"""The pages made from the figures: the gallery, and the findings in the README."""

from pathlib import Path

from minilora import storage
from minilora.gallery.build import load
from minilora.gallery.registry import FIGURES


def write_pages(out: Path) -> None:
    """Write the gallery (README.md beside the figures) and, in a checkout, the findings block of the README."""
    out = Path(out)
    done = [figure for figure in FIGURES if (out / f"{figure.name}.json").is_file()]
    parts = ["# Figures\n\nMade by `make figures`; this page is generated from the JSON files.\n"]
    for figure in done:
        caption = _plain(load(figure, out)["caption"])
        links = f"[numbers]({figure.name}.json), [SVG]({figure.name}.svg)"
        parts.append(
            f"## {figure.name}\n\n{figure.question}\n\n![{figure.name}]({figure.name}.png)\n\n{caption} ({links})\n"
        )
    page = "\n".join(parts)
    storage.write_text(out / "README.md", page)
    readme = out.resolve().parent / "README.md"
    begin, end = "<!-- findings:begin -->", "<!-- findings:end -->"
    if readme.is_file() and begin in (text := readme.read_text(encoding="utf-8")):
        lines = "\n".join(f"- **[{f.name}](figures/{f.name}.png)** {_plain(load(f, out)['caption'])}" for f in done)
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{lines}\n{end}{rest.split(end)[1]}"
        storage.write_text(readme, text)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: a sample says "__str__", which is not meant bold, and 64*256 no slanted word."""
    return text.replace("_", r"\_").replace("*", r"\*")
