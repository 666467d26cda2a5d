"""The style of the report's page: the dashboard's colours, light and dark."""

from __future__ import annotations

__all__ = ["STYLE"]

_LIGHT = """\
--ground:#f3f5f7;--panel:#fff;--line:#e1e6ea;--rule:#e9edf0;--ink:#17212b;--soft:#566472;--faint:#66737f;--good:#1a7f52;
--broken:#c5221f;--warn:#8f5600;--fill:#cfe3e3;--s0:#0a7ea4;--s1:#7a4fc9;--s2:#c5221f;--s3:#5a7316;--s4:#7a5230;
--s5:#5b6770;--s6:#00756b;--s7:#a8368f"""
_DARK = """\
--ground:#0e1216;--panel:#161c22;--line:#28313a;--rule:#232c35;--ink:#e4eaef;--soft:#a3b0bc;--faint:#8b99a6;--good:#4fc08d;
--broken:#ff7b72;--warn:#e6ae55;--fill:#23484a;--s0:#55b7e0;--s1:#b195f5;--s2:#ff7b72;--s3:#a9c25a;--s4:#cda27c;
--s5:#a9b4be;--s6:#4cc7b8;--s7:#e587c6"""
_TONES = "".join(f".t{n}{{--tone:var(--s{n})}}" for n in range(8))

STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
{_TONES}
*{{box-sizing:border-box}}
html{{background:var(--ground);color:var(--ink);font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
-webkit-text-size-adjust:100%}}
body{{margin:0;font-variant-numeric:tabular-nums}}
h1,h2,h3,p,dl,dd,figure{{margin:0}}
header,main,footer{{max-width:1320px;margin-inline:auto;padding:16px 20px}}
header{{padding-bottom:0}}
h1{{font-size:20px;overflow-wrap:anywhere}}
h2{{font-size:16px}}
h3{{font-size:14px;padding:0 0 6px}}
.product{{color:var(--soft);font-size:12px}}
header p,footer{{color:var(--soft)}}
footer{{font-size:12px}}
main{{display:grid;gap:16px}}
section,details{{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:14px 16px;min-width:0}}
summary{{font-size:16px;font-weight:600;cursor:pointer}}
.verdict{{padding:6px 0 10px}}
.lamp{{display:inline-block;width:10px;height:10px;border-radius:50%;background:var(--faint);margin-right:8px}}
.lamp.comfortable{{background:var(--good)}}
.lamp.busy,.lamp.slow,.lamp.saturated{{background:var(--warn)}}
.lamp.overloaded{{background:var(--broken)}}
.cards{{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:10px;padding-bottom:14px}}
.cards div{{border-left:3px solid var(--fill);padding-left:10px}}
.cards dt{{font-size:12px;color:var(--soft)}}
.cards dd{{font-size:20px;font-weight:600;line-height:1.25}}
.cards .below{{font-size:12px;font-weight:400;color:var(--soft)}}
.charts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:14px 18px;
padding-block:4px 14px}}
figcaption{{display:flex;flex-wrap:wrap;gap:2px 10px;align-items:baseline}}
figcaption span{{color:var(--soft);font-size:12px}}
.key i{{display:inline-block;width:14px;height:0;border-top:3px solid var(--tone);vertical-align:middle;
margin-right:4px}}
.key i.limit{{border-top:2px dashed var(--warn)}}
svg{{display:block;width:100%;height:auto}}
svg text{{font-size:11.5px;fill:var(--faint)}}
.rule{{stroke:var(--rule);fill:none}}
.line{{stroke:var(--tone);fill:none;stroke-width:1.6;stroke-linejoin:round}}
.area{{fill:var(--tone);fill-opacity:.16;stroke:none}}
circle{{fill:var(--tone)}}
path.limit{{stroke:var(--warn);stroke-dasharray:5 4;fill:none;stroke-width:1.4}}
.at{{fill:transparent}}
.at:hover{{fill:var(--ink);fill-opacity:.08}}
.tables{{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))}}
.tables>:last-child{{grid-column:1/-1}}
.scroll{{overflow-x:auto;min-width:0}}
table{{border-collapse:collapse;width:100%;font-size:13px}}
th,td{{padding:4px 10px 4px 0;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule)}}
thead th{{color:var(--soft);font-weight:500}}
tr>:first-child{{text-align:left;font-weight:500}}
tr.best th,tr.best td{{background:var(--fill)}}
td.bar{{position:relative;min-width:110px}}
td.bar i{{position:absolute;left:0;top:5px;bottom:5px;background:var(--fill);z-index:-1}}
td.bar{{z-index:0}}
@media print{{details{{break-inside:avoid}}}}
"""
