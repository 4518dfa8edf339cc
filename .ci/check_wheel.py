"""Does a wheel hold the whole package and nothing else, and does it work outside the checkout?"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "minilora"


def main(wheel: Path) -> None:
    """SystemExit that names what is missing or too much."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        with tempfile.TemporaryDirectory() as folder:
            archive.extractall(folder)
            code = "from minilora import load_base; from minilora.cli import main; load_base(); main(['figures', '--list'])"
            # -P: not this folder's package; the wheel's comes first on the path
            command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {folder!r}); {code}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {path.relative_to(PACKAGE.parent).as_posix() for path in files}
    if packed != expected:
        sys.exit(f"missing from the wheel: {sorted(expected - packed)}; too much in it: {sorted(packed - expected)}")
    print(f"{wheel.name}: {len(packed)} files, complete")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
