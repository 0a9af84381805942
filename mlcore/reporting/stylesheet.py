"""The look of the page: light, calm, system fonts; A4 when printed."""

INK, DIM, LINE = "#1b1f24", "#56606c", "#d5dae0"
LINK, GROUND = "#0b57a4", "#f5f7f9"

STYLESHEET = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{
  margin: 0 auto; max-width: 76rem; padding: 0 1.5rem 4rem; display: grid;
  grid-template-columns: 13rem minmax(0, 1fr); column-gap: 2.5rem;
  background: #fff; color: {INK};
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
    Arial, sans-serif;
}}
nav {{
  position: sticky; top: 0; align-self: start; padding: 2.6rem 0;
  max-height: 100vh; overflow: auto; font-size: .9rem;
}}
nav ol {{ margin: 0; padding: 0; list-style: none; }}
nav li {{ margin: 0 0 .45rem; }}
a {{ color: {LINK}; text-underline-offset: .2em; }}
nav a {{ text-decoration: none; }}
a:hover {{ text-decoration: underline; }}
:focus-visible {{ outline: 2px solid {LINK}; outline-offset: 2px; }}
p {{ max-width: 46rem; margin: .7rem 0; overflow-wrap: break-word; }}
h1 {{ font-size: 1.7rem; line-height: 1.25; margin: 2.4rem 0 .2rem; }}
h2 {{
  font-size: 1.3rem; margin: 3rem 0 .8rem; padding-top: .9rem;
  border-top: 1px solid {LINE};
}}
h3 {{ font-size: 1.05rem; margin: 2rem 0 .5rem; }}
header p, small, figcaption, .notes, dt {{ color: {DIM}; }}
header p {{ margin: 0 0 1.4rem; }}
small {{ font-size: .85em; font-weight: normal; white-space: nowrap; }}
.lead {{
  background: {GROUND}; border-left: 4px solid {LINK}; padding: .5rem 1.3rem;
  font-size: 1.1rem;
}}
.lead p:first-child {{ font-weight: 600; }}
figure {{ margin: 1.6rem 0 2rem; }}
figure img {{ display: block; max-width: 100%; height: auto; }}
figcaption, .caption, .notes {{ font-size: .9rem; max-width: 50rem; }}
figcaption {{ margin-top: .6rem; }}
figcaption b, .caption b {{ color: {INK}; }}
.table {{ margin: 1.6rem 0 2rem; }}
.caption {{ margin: 0 0 .5rem; }}
.notes {{ margin: .4rem 0 0; }}
.scroll {{ overflow-x: auto; }}
table {{
  border-collapse: collapse; font-size: .85rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; border-bottom: 1px solid {DIM};
}}
th {{
  text-align: left; vertical-align: bottom; border-bottom: 1px solid {DIM};
  line-height: 1.25;
}}
th, td {{ padding: .3rem .9rem .3rem 0; }}
th:last-child, td:last-child {{ padding-right: .2rem; }}
td {{ white-space: nowrap; border-bottom: 1px solid #edf0f3; }}
.n {{ text-align: right; }}
sup {{ line-height: 0; font-size: .75em; padding-left: .1em; }}
summary {{ cursor: pointer; color: {LINK}; font-size: .9rem; padding: .2rem 0; }}
dl {{
  display: grid; grid-template-columns: minmax(9rem, max-content) minmax(0, 1fr);
  gap: .25rem 1.5rem; margin: .8rem 0; font-size: .9rem;
}}
dd {{ margin: 0; overflow-wrap: anywhere; }}
@media (max-width: 56rem) {{
  body {{ display: block; }}
  nav {{ position: static; padding: 1.2rem 0 0; max-height: none; }}
}}
@page {{ size: A4; margin: 16mm 15mm 18mm;
  @bottom-right {{ content: counter(page) " / " counter(pages);
    font: 8pt system-ui, sans-serif; color: {DIM}; }} }}
@page sideways {{ size: A4 landscape; }}
@media print {{
  html {{ font-size: 9.5pt; }}
  body {{ display: block; max-width: none; padding: 0; }}
  nav {{ display: none; }}
  h1 {{ margin-top: 0; }}
  h2, h3, .caption, thead {{ break-after: avoid; }}
  figure, tr, .lead, dl {{ break-inside: avoid; }}
  p {{ orphans: 3; widows: 3; max-width: none; }}
  figure img {{ max-height: 225mm; object-fit: contain; object-position: left; }}
  .lead {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
  .scroll {{ overflow: visible; }}
  .wide, :is(h2, h3):has(+ .wide), :is(h2, h3):has(+ p + .wide),
  :is(h2, h3) + p:has(+ .wide) {{ page: sideways; }}
  table {{ font-size: 7.5pt; }}
  .wide table {{ font-size: 7pt; }}
  td {{ white-space: normal; }}
  th, td {{ padding-right: .6rem; }}
  summary {{ display: none; }}
  details::details-content {{ content-visibility: visible; display: block; }}
  a {{ color: inherit; text-decoration: none; }}
}}
"""
