// SPDX-License-Identifier: Apache-2.0
// The only file that knows the TOML library.
#include <toml++/toml.h>
#include <algorithm>
#include <sstream>

#include "apps/options.h"
#include "apps/text.h"

namespace cuboid::app {
namespace {

std::string text_of(const toml::node& node, const std::string& where) {
  if (const auto* s = node.as_string()) return s->get();
  if (const auto* i = node.as_integer()) return std::to_string(i->get());
  if (const auto* f = node.as_floating_point()) return shortest(f->get());
  if (const auto* b = node.as_boolean()) return b->get() ? "true" : "false";
  fail<UsageError>(where, ": must be text, a number, true or false");
}

void collect(const toml::table& table, const std::string& path, OptionValues& values) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str()), where = path + ": " + name;
    if (node.is_table()) continue;
    std::vector<std::string> texts;
    if (const auto* array = node.as_array())
      for (const auto& element : *array) texts.push_back(text_of(element, where));
    else texts.push_back(text_of(node, where));
    values.emplace_back(name, texts);
  }
}

/// Walks the tables; "csf" of [csf.train] is only a way station.
void visit_tables(const toml::table& table, const std::string& prefix, const std::string& path, const std::string& command,
                  const std::vector<std::string>& commands, OptionValues& values) {
  for (const auto& [key, node] : table) {
    const auto* inner = node.as_table();
    if (!inner) continue;
    const std::string name = prefix + (prefix.empty() ? "" : " ") + std::string(key.str());
    const bool known = std::any_of(commands.begin(), commands.end(),
                                   [&](const std::string& c) { return c == name || c.starts_with(name + " "); });
    check<UsageError>(known || name == command, path, ": no command is named [", name, "]", did_you_mean(name, commands));
    if (name == command) collect(*inner, path, values);
    visit_tables(*inner, name, path, command, commands, values);
  }
}

}  // namespace

OptionValues read_config(const std::string& path, const std::string& command, const std::vector<std::string>& commands) {
  OptionValues values;
  try {
    const toml::table table = toml::parse_file(path);
    collect(table, path, values);
    visit_tables(table, "", path, command, commands, values);
  } catch (const toml::parse_error& e) {
    std::ostringstream where;
    if (e.source().begin) where << " at line " << e.source().begin.line;
    fail<UsageError>(path, where.str(), ": ", e.description());
  }
  return values;
}

}  // namespace cuboid::app
