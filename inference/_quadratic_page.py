"""The page of the published experiment: a slider over cutoffs, pictures, findings; nothing is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brg_prob.report.interactive import slider_scripts
from brg_prob.report.page import drawings, environment, number, render_page
from inference._page import Chapter
from inference._quadratic_added import added
from inference._quadratic_ensemble import Ensemble
from inference._quadratic_panels import slider
from inference._quadratic_pictures import published
from inference._quadratic_report import LEAD, NOTE, TITLE
from inference._quadratic_statistics import Found


def page(ensemble: Ensemble, found: Found, told: Sequence[Chapter], command: str) -> str:
    """Return the page."""
    moving = slider(ensemble, found)
    prefix = "quadratic-relu"
    parts = [
        ("published", "The published pictures", drawings(published(ensemble, found), prefix=prefix)),
        ("added", "What they lack", drawings(added(found), prefix=prefix)),
    ]
    template: Any = environment().from_string(_TEMPLATE)
    return render_page(
        template,
        scripts=slider_scripts(),
        data={"slides": moving.content()},
        contents=[
            ("moving", "Through the cutoffs"),
            *((a, t) for a, t, _ in parts),
            ("findings", "Findings"),
        ],
        title=TITLE,
        lead=LEAD,
        facts=_facts(ensemble, found),
        moving=moving,
        parts=parts,
        chapters=told,
        note=NOTE,
        command=command,
    )


def _facts(ensemble: Ensemble, found: Found) -> list[tuple[str, str, str]]:
    """Return the key numbers: value, name, explanation."""
    main, exact = found["rules"][found["main"]], found["rules"][-1]
    inputs = "the exact Fisher matrix" if main is exact else f"{main['fisher_inputs']} Fisher inputs"
    return [
        (f"{found['members']}", "networks", f"{ensemble.method}; {found['diverged']} of them diverged"),
        (
            number(found["trained"]["median"]),
            "median test loss",
            f"{number(found['untrained']['median'])} untrained",
        ),
        (
            f"× {number(main['median'][1] / main['median'][0])}",
            "at the lowest cutoff",
            f"median loss with {inputs}",
        ),
        (
            "none" if exact["risen"]["value"] is None else number(exact["risen"]["value"], 2),
            "loss 10 % up at this cutoff",
            "with the exact expectation for the Fisher matrix",
        ),
    ]


_TEMPLATE = """{% extends "base.html.jinja" %}
{% from "macros.html.jinja" import gallery %}
{% block title %}{{ title }}{% endblock %}
{% block header %}
<style>
td.agrees { color: var(--good); } td.differs { color: var(--bad); }
td.measured, td.quoted { color: var(--muted); font-weight: 400; }
</style>
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
<dl class="facts">
{% for value, name, more in facts %}
<div><dt>{{ name }}</dt><dd class="value">{{ value }}</dd><dd class="more">{{ more }}</dd></div>
{% endfor %}
</dl>
{% endblock %}
{% block main %}
<section id="moving" aria-labelledby="moving-title">
<h2 id="moving-title">Through the cutoffs</h2>
<noscript><p class="note">Here a slider moves the losses of all members, their histogram, the ensemble's loss
and the output at a test input through the cutoffs together. It needs JavaScript; the figures below say the
same at four cutoffs.</p></noscript>
<div class="slider">
<label for="scale">Cutoff: from the trained networks (left) to untrained ones (right)</label>
<div class="row">
<button type="button" id="scale-back">◂ trained</button>
<input type="range" id="scale" min="0" max="{{ moving.texts | length - 1 }}" value="0" step="1"
aria-valuetext="{{ moving.texts[0] }}">
<button type="button" id="scale-on">untrained ▸</button>
</div>
<p id="scale-text" role="status" aria-live="polite">{{ moving.texts[0] }}</p>
</div>
<div class="panels">
{% for panel in moving.panels %}
<figure id="{{ panel.name }}" data-alt="{{ panel.title }}.">
<h3>{{ panel.title }}</h3>
<ul class="key" aria-hidden="true">
{% for shape, colour, meaning in panel.key %}
<li><span class="{{ shape }} {{ colour }}"></span>{{ meaning }}</li>
{% endfor %}
</ul>
<div class="plot" role="img" aria-label="{{ panel.title }}. {{ panel.captions[0] }}"></div>
<figcaption>{{ panel.captions[0] }}</figcaption>
</figure>
{% endfor %}
</div>
<p class="note panels-note">{{ moving.note }}</p>
</section>
{% for anchor, name, drawn in parts %}
<section aria-labelledby="{{ anchor }}">
<h2 id="{{ anchor }}">{{ name }}</h2>
{{ gallery(drawn) }}
</section>
{% endfor %}
<h2 id="findings">Findings</h2>
{% for chapter in chapters %}
<h3 class="flow" id="chapter-{{ loop.index }}">{{ chapter.title }}</h3>
<p>{{ chapter.message }}</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="chapter-{{ loop.index }}">
<table class="checks">
<thead><tr><th>quantity</th><th>measured</th><th>paper, T11</th><th>verdict</th></tr></thead>
<tbody>
{% for row in chapter.findings %}
<tr><td>{{ row.quantity }}</td><td>{{ row.measured }}</td><td>{{ row.formula }}</td>
<td class="word {{ row.verdict }}">{{ row.verdict }}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% endfor %}
<p class="note">{{ note }}</p>
<h2 id="again">To reproduce it</h2>
<pre>{{ command }}</pre>
{% endblock %}
{% block footer %}Made by brg_prob. Colours after Okabe and Ito.{% endblock %}
"""
