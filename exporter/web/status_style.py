"""The style sheet of the status page. Pure.

It is part of the page, because the page loads nothing. Each colour of text has a contrast of at least
4.5 to its background, in light and dark; tests/e2e/test_status_page.py measures it. What a colour says,
a sign or a word says as well.
"""

from typing import Final

from exporter.web.html import Html

STYLE: Final = Html("""
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--dim:#57606a;--line:#d0d7de;--soft:#f6f8fa;--link:#0550ae;
--k:#166534;--kb:#dff3e4;--x:#9f1239;--xb:#ffe1e6;--f:#7c3f00;--fb:#ffedcc;--l:#5b35a5;--lb:#ece4ff;--w:#46505c;--wb:#e7ebef}
@media(prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6eaef;--dim:#a3adb8;--line:#3a424c;--soft:#1c2229;--link:#82b7ff;
--k:#93e0a6;--kb:#173a22;--x:#ffb1bd;--xb:#541a27;--f:#ffcf8a;--fb:#4a320b;--l:#cdbaff;--lb:#362a5c;--w:#c2cad3;--wb:#303740}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:.8rem 1rem 2rem;background:var(--paper);color:var(--ink);overflow-wrap:anywhere}
a{color:var(--link)}p,ul{margin:.3rem 0}ul{padding-left:1.2rem}
header{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;align-items:baseline;border-bottom:1px solid var(--line);padding-bottom:.4rem}
header p{margin:0}header p:last-child{margin-left:auto}
h1{font-size:1.5rem;line-height:1.25;margin:.9rem 0 .2rem}h2{font-size:1.15rem;margin:1.7rem 0 .4rem}h3{font-size:1rem;margin:0}
nav a,nav b,nav span{margin-right:.9rem;white-space:nowrap}nav span a{margin:0}
small{font-size:.85em;color:var(--dim);font-weight:400}code{font:.92em ui-monospace,monospace}
article{border:1px solid var(--line);border-left:5px solid var(--c);border-radius:.4rem;background:var(--soft);margin:.6rem 0;padding:.5rem .8rem}
article div,article p{margin:.2rem 0}
@media(min-width:64rem){article{display:grid;grid-template-columns:3fr 2fr;gap:0 1.6rem}article h3{grid-column:1/3}}
article.x{--c:var(--x)}article.f{--c:var(--f)}article.l{--c:var(--l)}article.w{--c:var(--w)}
.x{color:var(--x)}.f{color:var(--f)}.l{color:var(--l)}.w{color:var(--w)}.k{color:var(--k)}
article.x,article.f,article.l,article.w{color:inherit}
.y{border:1px solid;border-radius:1rem;padding:0 .5rem;white-space:nowrap;font-size:.85em}
i{display:inline-block;font:700 12px/18px ui-monospace,monospace;width:18px;text-align:center;border-radius:3px;margin:0 2px 2px 0;background:var(--kb);color:var(--k)}
i.x{background:var(--xb);color:var(--x)}i.f{background:var(--fb);color:var(--f)}i.l{background:var(--lb);color:var(--l)}i.w{background:var(--wb);color:var(--w)}
.r{display:flex;height:.5rem;border-radius:.25rem;overflow:hidden;margin:.25rem 0;gap:1px}
.r b{background:currentColor;min-width:4px}
table{border-collapse:collapse;width:100%}caption{text-align:left;color:var(--dim);font-size:.85em;padding:.2rem 0}
th,td{text-align:left;padding:.35rem .9rem .35rem 0;border-top:1px solid var(--line);vertical-align:top}
thead th{border-top:0;font-weight:600;color:var(--dim);font-size:.85em;white-space:nowrap}tbody th{font-weight:600}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td small{display:block}
form{margin:.6rem 0}label{margin-right:.4rem}input{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--dim);border-radius:.3rem;padding:.3rem .5rem;width:min(22rem,60%)}
button{font:inherit;color:inherit;background:var(--soft);border:1px solid var(--dim);border-radius:.3rem;padding:.3rem .8rem}
.b th small{display:inline-block}
@media(min-width:64rem){.d tbody th{width:21rem}.b td:nth-child(3){width:28.9rem}}
@media(max-width:44rem){header p:last-child{margin-left:0}nav a,nav b,nav span{display:inline-block;padding:.15rem 0}
table,caption,tbody,tr,th,td{display:block}thead{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden;white-space:nowrap}
tr{border-top:1px solid var(--line);padding:.45rem 0}th,td,td.n{border:0;padding:.05rem 0;text-align:left}td.n{display:inline-block;margin-right:1rem}td small{display:inline}
td[data-l]::before{content:attr(data-l) ": ";color:var(--dim)}}
@media print{nav,form{display:none}article,tr{break-inside:avoid}body{max-width:none}i,.r b,article{print-color-adjust:exact}}
""")
