// SPDX-License-Identifier: Apache-2.0
// One HTML page with everything inside: style, plots as SVG, pictures as base64. Light and dark, and fit for print.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace cuboid::app {

std::string html_escaped(std::string_view text);
std::string base64(std::string_view bytes);

class Page {
 public:
  Page(std::string title, std::string subtitle) : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

  /// Large figures at the top: {"AUROC", "0.981", "0.95 to 1.00"}.
  struct Tile {
    std::string name, value, note;
  };
  void tiles(const std::vector<Tile>& tiles);
  void section(const std::string& title, const std::string& text = "");
  /// A row of figures; `html` is an SVG, an image or a table.
  struct Panel {
    std::string html, caption;
  };
  void panels(const std::vector<Panel>& panels);
  void html(const std::string& html) { body_ += html; }
  void note(const std::string& text);

  /// First column left, the others right. Cells are HTML already.
  static std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);
  /// Rows true, columns predicted, shaded by the share of the row.
  static std::string confusion(const std::vector<std::string>& classes, const std::vector<std::vector<long long>>& counts);
  static std::string picture(std::string_view png, const std::string& alternative);

  std::string finish(const std::string& footer) const;

 private:
  std::string title_, subtitle_, body_;
};

}  // namespace cuboid::app
