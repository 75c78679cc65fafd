// SPDX-License-Identifier: Apache-2.0
#include "apps/report.h"

#include <cstdint>

#include "apps/text.h"

namespace cuboid::app {
namespace {

constexpr const char* style = R"(
:root{color-scheme:light dark;--paper:#fbfbfa;--card:#fff;--ink:#1f2328;--soft:#5d6570;--faint:#d9dce0;--accent:#0b62a8;--shade:11,98,168}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1c2024;--ink:#e4e7ea;--soft:#9aa3ad;--faint:#3a4047;--accent:#6cb6f5;--shade:108,182,245}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 28px 60px}
header{border-bottom:1px solid var(--faint);padding-bottom:20px;margin-bottom:26px}
h1{font-size:27px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em;font-weight:650}
header p{margin:0;color:var(--soft)}
h2{font-size:18px;margin:42px 0 6px;font-weight:620;letter-spacing:-.005em}
p{margin:4px 0 12px;max-width:76ch}p.lead{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px}
.tile{background:var(--card);border:1px solid var(--faint);border-radius:10px;padding:14px 16px}
.tile b{display:block;font-size:27px;line-height:1.2;font-weight:620;font-variant-numeric:tabular-nums;letter-spacing:-.015em}
.tile span{color:var(--soft);font-size:13px}.tile small{color:var(--soft);font-size:12px;font-variant-numeric:tabular-nums}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(430px,100%),1fr));gap:16px;margin:12px 0}
figure{margin:0;background:var(--card);border:1px solid var(--faint);border-radius:10px;padding:14px;break-inside:avoid;overflow-x:auto}
figure{display:flex;flex-direction:column;justify-content:center}
figure svg{display:block;width:100%;height:auto;max-width:560px;margin:0 auto}
figure svg text{fill:var(--ink)}
figure img{display:block;max-width:100%;margin:0 auto;border-radius:6px}
figcaption{color:var(--soft);font-size:13px;margin-top:8px}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:6px 6px;text-align:right;border-bottom:1px solid var(--faint);white-space:nowrap}
th:first-child,td:first-child{text-align:left}thead th{color:var(--soft);font-weight:560;font-size:12.5px}
tbody tr:last-child td{border-bottom:0}
table.confusion{width:auto;margin:6px auto 10px}
table.confusion td,table.confusion th{border:0;text-align:center;padding:0}
table.confusion td.count{min-width:86px;height:58px;border:2px solid var(--card);border-radius:8px}
table.confusion td.count b{display:block;font-weight:620;font-size:17px;line-height:1.2}table.confusion td.count small{color:var(--soft)}
table.confusion th{padding:4px 12px;color:var(--soft);font-weight:560;font-size:13px}
table.confusion th.row{text-align:right}table.confusion th.axis{color:var(--ink)}
.wrong{color:#d5581f;font-weight:600}
.note{border-left:3px solid var(--accent);padding:6px 14px;background:var(--card);border-radius:0 8px 8px 0;margin:12px 0;color:var(--soft)}
details{margin:10px 0}summary{cursor:pointer;color:var(--accent)}
pre{background:var(--card);border:1px solid var(--faint);border-radius:10px;padding:14px;overflow-x:auto;font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
td code{white-space:normal;overflow-wrap:anywhere}code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
footer{margin-top:48px;padding-top:16px;border-top:1px solid var(--faint);color:var(--soft);font-size:13px}
@media print{:root{--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--faint:#ccc}main{max-width:none;padding:0}h2{break-after:avoid}pre{white-space:pre-wrap}}
)";

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

std::string base64(std::string_view bytes) {
  constexpr char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<std::uint8_t>(bytes[i + j]) : std::uint8_t{0});
    for (std::size_t j = 0; j < 4; ++j) out += i + j > bytes.size() ? '=' : letters[group >> (18 - 6 * j) & 63];
  }
  return out;
}

void Page::tiles(const std::vector<Tile>& tiles) {
  body_ += "<div class=tiles>";
  for (const auto& t : tiles)
    body_ += "<div class=tile><span>" + html_escaped(t.name) + "</span><b>" + html_escaped(t.value) + "</b><small>" +
             (t.note.empty() ? "&nbsp;" : html_escaped(t.note)) + "</small></div>";
  body_ += "</div>\n";
}

void Page::section(const std::string& title, const std::string& text) {
  body_ += "<h2>" + html_escaped(title) + "</h2>\n";
  if (!text.empty()) body_ += "<p class=lead>" + html_escaped(text) + "</p>\n";
}

void Page::panels(const std::vector<Panel>& panels) {
  body_ += "<div class=panels>\n";
  for (const auto& p : panels)
    if (!p.html.empty())
      body_ += "<figure>" + p.html + (p.caption.empty() ? "" : "<figcaption>" + html_escaped(p.caption) + "</figcaption>") +
               "</figure>\n";
  body_ += "</div>\n";
}

void Page::note(const std::string& text) { body_ += "<p class=note>" + html_escaped(text) + "</p>\n"; }

std::string Page::table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
  std::string out = "<table><thead><tr>";
  for (const auto& h : head) out += "<th>" + h + "</th>";
  out += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (const auto& cell : row) out += "<td>" + cell + "</td>";
    out += "</tr>";
  }
  return out + "</tbody></table>";
}

std::string Page::confusion(const std::vector<std::string>& classes, const std::vector<std::vector<long long>>& counts) {
  const std::string n = std::to_string(classes.size());
  std::string out = "<table class=confusion><tr><th></th><th class=axis colspan=" + n +
                    ">predicted</th></tr><tr><th class='row axis'>true</th>";
  for (const auto& name : classes) out += "<th>" + html_escaped(name) + "</th>";
  out += "</tr>";
  for (std::size_t r = 0; r < classes.size(); ++r) {
    long long total = 0;
    for (const auto count : counts[r]) total += count;
    out += "<tr><th class=row>" + html_escaped(classes[r]) + "</th>";
    for (const auto count : counts[r]) {
      const double share = total ? static_cast<double>(count) / static_cast<double>(total) : 0;
      out += "<td class=count style='background:rgba(var(--shade)," + fixed(0.04 + 0.5 * share, 3) + ")'><b>" +
             std::to_string(count) + "</b><small>" + fixed(100 * share, 0) + " %</small></td>";
    }
    out += "</tr>";
  }
  return out + "</table>";
}

std::string Page::picture(std::string_view png, const std::string& alternative) {
  return "<img alt=\"" + html_escaped(alternative) + "\" src=\"data:image/png;base64," + base64(png) + "\">";
}

std::string Page::finish(const std::string& footer) const {
  return "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport "
         "content='width=device-width,initial-scale=1'>\n<title>" +
         html_escaped(title_) + "</title>\n<style>" + style + "</style></head>\n<body><main><header><h1>" + html_escaped(title_) +
         "</h1><p>" + html_escaped(subtitle_) + "</p></header>\n" + body_ + "<footer>" + html_escaped(footer) +
         "</footer></main></body></html>\n";
}

}  // namespace cuboid::app
