"""The caption says which update training finds."""

from minilora.plots.rank.rank_known import caption


def made_up(fit):
    kinds = {
        kind: {"bound": [[0.5, 0.0]], "fit": [[0.5, 0.0]], "truncated": [[0.5, 0.0]]} for kind in ("known", "decaying")
    }
    kinds["correlated"] = {"bound": [[0.1, 0.0]], "fit": [[fit, 0.0]], "truncated": [[0.2, 0.0]]}
    return {"ranks": [4, 8], "true_rank": 8, "decay": 0.8, "spread": 0.9} | kinds


def test_which_update_is_found_with_correlated_inputs():
    assert "finds the better one (0.101" in caption(made_up(0.101))
    assert "stays near the former (0.190" in caption(made_up(0.19))
    assert "leaves 0.200 of the output's error where 0.100 is possible" in caption(made_up(0.1))
