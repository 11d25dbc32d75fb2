"""report.html: the result of a run for a person. One file, without scripts or network access."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from agentlm.finetune.report.sample import Span

_STYLE = """
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.35rem } h2 { font-size: 1.05rem; margin-top: 2rem } h3 { font-size: .95rem }
table { border-collapse: collapse } td, th { padding: .3rem .8rem .3rem 0; text-align: left }
td, th { vertical-align: top; border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
th { font-weight: 500; color: var(--muted); white-space: nowrap }
img { width: 48%; min-width: min(20rem, 100%); margin: 1rem 1% 0 0; background: #fff }
img, pre { border-radius: var(--radius) }
td.n { text-align: right; font-variant-numeric: tabular-nums }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-family: var(--mono); font-size: .875em }
pre { background: var(--card); border: 1px solid var(--line); padding: .8rem }
mark { background: var(--good-soft); color: var(--good); border-radius: 3px }
small { color: var(--muted) }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render_html(
    report: dict[str, Any], plots: Sequence[Path], samples: dict[str, list[list[Span]]]
) -> str:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">',
        f"<title>{escape(report['name'])}</title>",
        f"<style>{_look()}{_STYLE}</style><h1>{escape(report['name'])}</h1>",
        _table(_headlines(report)),
        *(_image(path) for path in plots),
        "<h2>What was left out</h2>",
        *(_drops(name, drops) for name, drops in report["selection"].items()),
        "<h2>Rows as they were trained on</h2>",
        "<p>What the model learned to say is <mark>marked</mark>.</p>",
        *(_samples(name, rows) for name, rows in samples.items()),
        "<h2>Recipe</h2>",
        f"<pre>{escape(json.dumps(report['recipe'], indent=2))}</pre>",
    ]
    return "\n".join(parts)


def _look() -> str:
    """The colours of the page at `/`, light and dark."""
    return files("agentlm").joinpath("look.css").read_text(encoding="utf-8")


def _headlines(report: dict[str, Any]) -> list[tuple[str, str]]:
    drawn = report["drawn"]
    rows = [
        *_starts(report["starts"]),
        ("trained for", _duration(drawn["seconds"])),
        ("written", report["written"]),
        ("base", report["recipe"]["base"]),
        ("steps", f"{report['steps_done']:,} of {report['steps']:,}"),
        ("loss", f"{report['loss'][0]:.4f} → {report['loss'][-1]:.4f}"),
        *_held_out(report),
        ("tokens", f"{drawn['tokens']:,.0f}, {drawn['trained_tokens']:,.0f} trained on"),
        ("computed", f"{drawn['computed_tokens']:,.0f} tokens, what rows share only once"),
        ("speed", f"{drawn['tokens'] / drawn['seconds']:,.0f} tokens/s"),
    ]
    for name, counts in report["sources"].items():
        summary = (
            f"{counts['rows']:,} rows, {counts['tokens']:,} tokens, weight {counts['weight']:g}"
        )
        rows.append((name, summary))
    return rows


def _starts(starts: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    """When and how the run was begun and continued."""
    rows = []
    for index, start in enumerate(starts):
        of = f"agentlm {start['version']}" + (f" ({start['commit']})" if "commit" in start else "")
        rows.append(("gone on" if index else "begun", f"{start['time']}: {start['command']}; {of}"))
    return rows


def _duration(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min {left} s" if minutes else f"{seconds:.1f} s"


def _held_out(report: dict[str, Any]) -> list[tuple[str, str]]:
    measured, best = report["held_out_loss"], report["best_step"]
    if not measured:
        return []
    losses = dict(measured)
    change = f"{measured[0][1]:.4f} → {measured[-1][1]:.4f}"
    return [("held-out loss", f"{change}; least after step {best}: {losses[best]:.4f}")]


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(a)}<td>{escape(b)}" for a, b in rows)
    return f"<table>{cells}</table>"


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{path.stem}" src="data:image/png;base64,{data}">'


def _drops(name: str, drops: dict[str, Any]) -> str:
    lines = [f"<h3>{escape(name)}: {drops['kept']:,} of {drops['rows']:,} kept</h3><table>"]
    for dropped, count in drops["dropped"].items():
        examples = "<br>".join(
            f"<small>{escape(one['trajectory'])}: {escape(one['reason'])}</small>"
            for one in drops["examples"].get(dropped, [])
        )
        lines.append(f"<tr><td>{escape(dropped)}<td class=n>{count:,}<td>{examples}")
    for kind, count in drops["scrubbed"].items():
        lines.append(f"<tr><td>scrubbed<td class=n>{count:,}<td><small>{escape(kind)}</small>")
    if drops["rendered_anew"]:
        why = "recorded under another tokenizer or template"
        lines.append(
            f"<tr><td>rendered anew<td class=n>{drops['rendered_anew']:,}<td><small>{why}</small>"
        )
    return "".join([*lines, "</table>"])


def _samples(name: str, rows: Sequence[Sequence[Span]]) -> str:
    samples = "".join(f"<pre>{''.join(map(_span, row))}</pre>" for row in rows)
    return f"<h3>{escape(name)}</h3>{samples}"


def _span(span: Span) -> str:
    return f"<mark>{escape(span.text)}</mark>" if span.trained else escape(span.text)
