// SPDX-License-Identifier: Apache-2.0
// The only file that knows CLI11, and the text of --help.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>

#include "apps/options.h"
#include "apps/text.h"

namespace cuboid::app {

OptionValues Options::from_command_line(const std::vector<std::string>& arguments, bool& help_wanted) const {
  CLI::App parser;
  parser.set_help_flag();
  parser.allow_extras();
  parser.add_flag("-h,--help", help_wanted);
  std::vector<CLI::Option*> handles;
  std::vector<std::string> known = {"--help"};
  for (const auto& e : entries_) {
    const std::string dashed = (e->short_name.empty() ? "" : e->short_name + ",") + "--" + e->name;
    CLI::Option* option = nullptr;
    if (e->flag) {
      option = parser.add_flag(dashed + ",!--no-" + e->name);
      known.push_back("--no-" + e->name);
    } else {
      option = parser.add_option(e->positional ? e->name + "," + dashed : dashed);
      option->expected(1, e->list ? CLI::detail::expected_max_vector_size : 1);
      if (!e->positional && e->list) option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
      if (!e->list) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
    known.push_back("--" + e->name);
    handles.push_back(option);
  }
  std::vector<std::string> reversed;
  bool literal = false;
  for (std::string argument : arguments) {  // --learning_rate=1 is --learning-rate=1
    literal |= argument == "--";
    if (!literal && argument.starts_with("--"))
      std::replace(argument.begin(),
                   argument.begin() + static_cast<std::ptrdiff_t>(std::min(argument.find('='), argument.size())), '_', '-');
    reversed.push_back(argument);
  }
  std::reverse(reversed.begin(), reversed.end());
  try {
    parser.parse(reversed);
  } catch (const CLI::ParseError& e) {
    fail<UsageError>(e.what());
  }
  if (help_wanted) return {};
  OptionValues values;
  for (std::size_t i = 0; i < handles.size(); ++i)
    if (handles[i]->count() > 0) values.push_back({entries_[i]->name, handles[i]->results()});
  for (const std::string& extra : parser.remaining()) {
    if (extra == "--") continue;
    const std::string name = extra.substr(0, extra.find('='));
    check<UsageError>(!name.starts_with("-"), "unknown option '", name, "'", did_you_mean(name, known));
    // the parser gives a list of arguments its first run only; the rest of them arrives here
    const auto list = std::find_if(values.begin(), values.end(), [&](const auto& v) {
      const Entry* e = find(v.first);
      return e->positional && e->list;
    });
    check<UsageError>(list != values.end(), "unexpected argument '", extra, "'");
    list->second.push_back(extra);
  }
  return values;
}

std::string Options::help() const {
  std::string text = purpose_ + "\n\nusage: cuboid " + command_ + (command_.empty() ? "" : " ") + "[options]";
  for (const auto& e : entries_)
    if (e->positional) text += (e->needed ? " <" + e->name + ">" : " [" + e->name + "]") + (e->list ? "..." : "");
  text += "\n";
  if (!examples_.empty()) text += "\nexamples:\n";
  std::size_t width = 0;
  for (const auto& example : examples_) width = std::max(width, example.first.size());
  for (const auto& [line, what] : examples_) text += "  " + line + std::string(width - line.size() + 2, ' ') + "# " + what + "\n";
  std::string section;
  constexpr std::size_t column = 30;
  for (const auto& e : entries_) {
    if (e->section != section) text += "\n" + (section = e->section) + ":\n";
    std::string left = "  " + (e->positional ? "<" + e->name + ">"
                                             : (e->short_name.empty() ? "    " : e->short_name + ", ") + "--" + e->name +
                                                   (e->flag ? "" : " " + (e->allowed.empty() ? e->placeholder : "WORD")));
    left += left.size() + 2 > column ? "\n" + std::string(column, ' ') : std::string(column - left.size(), ' ');
    const std::string value = join(e->show(), ",");
    text += left + e->help;
    if (!e->allowed.empty()) text += " (" + join(e->allowed, " | ") + ")";
    if (!e->flag && !value.empty()) text += " [" + value + "]";
    if (e->flag && value == "true") text += " [on; --no-" + e->name + " turns it off]";
    text += "\n";
  }
  return text + "\nAn option may also come from the environment (CUBOID_" +
         "LEARNING_RATE style) or a file (--config file.toml).\n";
}

}  // namespace cuboid::app
