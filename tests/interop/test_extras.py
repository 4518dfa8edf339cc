import sys

import pytest

from minilora.interop import load_llama
from minilora.interop.extras import need


def test_a_missing_package_is_named_with_its_purpose_and_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)  # as if it were not installed
    message = (
        r"reading x needs the package safetensors, which is not installed; run: python -m pip install -e '.\[hf\]'"
    )
    with pytest.raises(ImportError, match=message):
        need("safetensors", "reading x")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ImportError, match="pip install"):
        load_llama(tmp_path)
