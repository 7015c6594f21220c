"""How the page looks, on a screen and on paper."""

__all__ = ["CSS"]

CSS = """
:root { --ink: #1d2429; --soft: #5a6570; --line: #dfe4e8; --tint: #f5f7f9; --accent: #00755a; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0 auto; padding: 3rem 1.5rem 5rem; max-width: 62rem; color: var(--ink);
  background: #fff; font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "DejaVu Sans", sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3.5rem 0 1rem; padding-top: .9rem;
  border-top: 2px solid var(--line); }
h3 { font-size: 1.02rem; margin: 2.2rem 0 .4rem; }
p, li { max-width: 46rem; }
a { color: var(--accent); }
.kicker { color: var(--soft); margin: 0 0 2rem; }
nav { margin: 0 0 2rem; padding: .9rem 1.2rem; background: var(--tint); border-radius: 6px; }
nav ol { margin: 0; padding-left: 1.2rem; columns: 2; column-gap: 2.5rem; }
nav li { break-inside: avoid; }
.summary { border-left: 4px solid var(--accent); padding: .1rem 0 .1rem 1.2rem; }
.summary p { margin: .55rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .9rem;
  margin: 0 0 1.6rem; }
.cards div { background: var(--tint); border-radius: 6px; padding: .8rem 1rem;
  break-inside: avoid; }
.cards b { display: block; font-size: 1.35rem; line-height: 1.25; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.cards span { color: var(--soft); font-size: .88rem; line-height: 1.35; display: block;
  margin-top: .2rem; }
figure { margin: 1.2rem 0 2.4rem; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; border: 1px solid var(--line);
  border-radius: 6px; padding: .6rem; background: #fff; }
figcaption { color: var(--soft); font-size: .92rem; line-height: 1.5; margin-top: .6rem;
  max-width: 50rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .55rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { white-space: normal; vertical-align: bottom; line-height: 1.25; font-weight: 600;
  color: var(--soft); border-bottom-width: 2px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.strong td { font-weight: 700; color: var(--accent); }
.note, .absent { color: var(--soft); font-size: .92rem; }
.absent { background: #fdf6e3; border: 1px solid #ecdcae; border-radius: 6px;
  padding: .6rem .9rem; }
.key span { display: inline-block; margin-right: 1.2rem; }
.key i { display: inline-block; width: .9rem; height: .9rem; border-radius: 3px;
  vertical-align: -.1rem; margin-right: .35rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); }
code { font-size: .88em; background: var(--tint); border-radius: 4px; padding: .1em .35em; }
pre { background: var(--tint); border-radius: 6px; padding: 1rem; overflow-x: auto;
  font-size: .8rem; line-height: 1.45; }
@media print {
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; width: 100%; }
  th, td { padding: .2rem .25rem; white-space: normal; }
  .cards { grid-template-columns: repeat(5, 1fr); } .cards b { font-size: 1.1rem; }
  nav { background: none; padding: 0; } h2 { break-after: avoid; } h3 { break-after: avoid; }
  a { color: inherit; text-decoration: none; } figure img { border: none; padding: 0; }
}
"""
