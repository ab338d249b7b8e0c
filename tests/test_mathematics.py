"""docs/mathematics.md: the code it names exists, its snippet runs, its derivation holds."""

from __future__ import annotations

import importlib
import json
import math
import re
from functools import reduce
from pathlib import Path

import pytest

from translate.losses.soft_introvae import equilibrium_kl

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
NAMED = re.findall(r"\[`([\w.]+)`\]\(\.\./(translate/[\w/]+)\.py\)", PAGE)


def test_every_name_on_the_page_is_in_its_file() -> None:
    assert len(NAMED) > 15
    for name, module in NAMED:
        assert reduce(getattr, name.split("."), importlib.import_module(module.replace("/", ".")))


def test_every_link_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


def test_the_snippet_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"step": i, "beta_neg": 64.0, "kl_s": 3.0 * i, "kl_s_translation": 5.0 * i}
        for i in range(5)
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stats.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(snippet, {})
    assert (tmp_path / "equilibrium.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_the_balance_with_several_kinds_of_fakes_is_a_minimum(kinds: int) -> None:
    """Where kinds - 1 of them have no reward left, k minimises
    s beta_kl k + 1 / (2 kinds) exp(-2 s beta_neg k).
    """
    beta_neg = 60.0
    beta_kl = 1.5
    n = 1024
    balance = equilibrium_kl(beta_neg, beta_kl, n) - n / (2 * beta_neg) * math.log(kinds)
    assert balance == pytest.approx(n / (2 * beta_neg) * math.log(beta_neg / (kinds * beta_kl)))

    def loss(k: float) -> float:
        return beta_kl * k / n + math.exp(-2 * beta_neg * k / n) / (2 * kinds)

    assert all(loss(balance) < loss(balance + step) for step in (-1.0, -0.01, 0.01, 1.0))


def test_the_equilibrium_is_highest_at_e_beta_kl() -> None:
    at = [equilibrium_kl(math.e * 0.7 * factor, 0.7, 256) for factor in (0.9, 1.0, 1.1, 2.0)]
    assert at[1] == max(at)
    assert at == [at[0], *sorted(at[1:], reverse=True)]
