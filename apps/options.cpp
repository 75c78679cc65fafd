// SPDX-License-Identifier: Apache-2.0
#include "apps/options.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "apps/text.h"

namespace cuboid::app {
namespace {

/// "learning_rate" and "learning-rate" are one name.
std::string kebab(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

bool truth(const std::string& text, const std::string& name) {
  for (const char* yes : {"true", "1", "yes", "on"})
    if (text == yes) return true;
  for (const char* no : {"false", "0", "no", "off"})
    if (text == no) return false;
  fail<UsageError>("--", name, ": '", text, "' is neither true nor false");
}

template <class T>
T number(const std::string& text, const std::string& name) {
  T value{};
  const char *begin = text.data() + (text.size() > 1 && text[0] == '+'), *end = text.data() + text.size();
  const auto result = std::from_chars(begin, end, value);
  check<UsageError>(result.ec == std::errc() && result.ptr == end && begin != end, "--", name, ": '", text, "' is not a ",
                    std::is_integral_v<T> ? "whole number" : "number");
  return value;
}

std::string toml_quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr char hex[] = "0123456789abcdef";
      out += std::string("\\u00") + hex[(c >> 4) & 15] + hex[c & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

const char* name_of(Origin origin) {
  constexpr const char* names[] = {"default", "recipe", "config file", "environment", "command line"};
  return names[static_cast<int>(origin)];
}

Options::Options(std::string command, std::string purpose) : command_(std::move(command)), purpose_(std::move(purpose)) {}

Options::Entry& Options::make(const std::string& flags, const std::string& help) {
  auto entry = std::make_unique<Entry>();
  for (const std::string& flag : split(flags, ',')) (flag.starts_with("--") ? entry->name : entry->short_name) = flag;
  if (entry->name.empty()) std::swap(entry->name, entry->short_name);
  entry->name.erase(0, std::min(entry->name.find_first_not_of('-'), entry->name.size()));
  entry->help = help;
  entry->section = section_;
  entries_.push_back(std::move(entry));
  return *entries_.back();
}

Options::Entry& Options::add(const std::string& flags, bool* value, const std::string& help) {
  Entry& e = make(flags, help);
  e.flag = true;
  e.quoted = false;
  e.assign = [value, name = e.name](const auto& text) { *value = truth(text.back(), name); };
  e.show = [value] { return std::vector<std::string>{*value ? "true" : "false"}; };
  return e;
}

Options::Entry& Options::add(const std::string& flags, std::int64_t* value, const std::string& help) {
  Entry& e = make(flags, help);
  e.placeholder = "N";
  e.quoted = false;
  e.number = true;
  e.assign = [value, name = e.name](const auto& text) { *value = number<std::int64_t>(text.back(), name); };
  e.show = [value] { return std::vector<std::string>{std::to_string(*value)}; };
  return e;
}

Options::Entry& Options::add(const std::string& flags, double* value, const std::string& help) {
  Entry& e = make(flags, help);
  e.placeholder = "X";
  e.quoted = false;
  e.number = true;
  e.assign = [value, name = e.name](const auto& text) { *value = number<double>(text.back(), name); };
  e.show = [value] { return std::vector<std::string>{shortest(*value)}; };
  return e;
}

Options::Entry& Options::add(const std::string& flags, std::string* value, const std::string& help) {
  Entry& e = make(flags, help);
  e.placeholder = "TEXT";
  e.assign = [value](const auto& text) { *value = text.back(); };
  e.show = [value] { return std::vector<std::string>{*value}; };
  return e;
}

Options::Entry& Options::add(const std::string& flags, std::vector<std::string>* value, const std::string& help) {
  Entry& e = make(flags, help);
  e.placeholder = "A,B,...";
  e.list = true;
  e.assign = [value](const auto& texts) {
    value->clear();
    for (const auto& text : texts)
      for (auto& part : split(text, ',')) value->push_back(part);
  };
  e.show = [value] { return *value; };
  return e;
}

Options::Entry& Options::add(const std::string& flags, std::vector<std::int64_t>* value, const std::string& help) {
  Entry& e = make(flags, help);
  e.placeholder = "N,N,...";
  e.list = true;
  e.quoted = false;
  e.number = true;
  e.assign = [value, name = e.name](const auto& texts) {
    value->clear();
    for (const auto& text : texts)
      for (const auto& part : split(text, ',')) value->push_back(number<std::int64_t>(part, name));
  };
  e.show = [value] {
    std::vector<std::string> texts;
    for (const auto n : *value) texts.push_back(std::to_string(n));
    return texts;
  };
  return e;
}

Options::Entry& Options::positional(const std::string& name, std::vector<std::string>* value, const std::string& help) {
  Entry& e = add("--" + name, value, help);
  e.positional = true;
  e.assign = [value](const auto& texts) { *value = texts; };  // a file name may hold a comma
  return e;
}

Options::Entry& Options::positional(const std::string& name, std::string* value, const std::string& help) {
  Entry& e = add("--" + name, value, help);
  e.positional = true;
  return e;
}

void Options::recipe(const std::string& name, std::function<OptionValues(const std::string&)> values) {
  recipe_option_ = name;
  recipe_values_ = std::move(values);
}

Options::Entry* Options::find(const std::string& name) const {
  for (const auto& e : entries_)
    if (e->name == name) return e.get();
  return nullptr;
}

std::vector<std::string> Options::names() const {
  std::vector<std::string> all;
  for (const auto& e : entries_) all.push_back(e->name);
  return all;
}

void Options::apply(Entry& entry, const std::vector<std::string>& values, Origin origin) {
  try {
    check<UsageError>(!values.empty() || entry.list, "--", entry.name, ": needs a value");
    entry.assign(values);
    for (const std::string& text : entry.show()) {
      if (!entry.allowed.empty())
        check<UsageError>(std::find(entry.allowed.begin(), entry.allowed.end(), text) != entry.allowed.end(), "--", entry.name,
                          ": '", text, "' is not one of ", join(entry.allowed, ", "), did_you_mean(text, entry.allowed));
      if (entry.number) {
        const double x = std::strtod(text.c_str(), nullptr);
        check<UsageError>(x >= entry.low && x <= entry.high, "--", entry.name, ": ", text, " is ",
                          x < entry.low ? "below " + shortest(entry.low) : "not within its limit of " + shortest(entry.high));
      }
    }
  } catch (const UsageError& e) {
    if (origin == Origin::command_line) throw;
    fail<UsageError>(e.what(), " (from the ", name_of(origin), ")");
  }
  entry.origin = origin;
}

void Options::apply_all(const OptionValues& values, Origin origin, const std::string& where) {
  for (const auto& [key, texts] : values) {
    Entry* entry = find(kebab(key));
    check<UsageError>(entry != nullptr, where, ": unknown key '", key, "'", did_you_mean(kebab(key), names()));
    apply(*entry, texts, origin);
  }
}

OptionValues Options::from_environment() const {
  OptionValues values;
  for (const auto& e : entries_) {
    std::string variable = "CUBOID_" + e->name;
    for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const char* text = std::getenv(variable.c_str());
    if (text && *text) values.push_back({e->name, {text}});
  }
  return values;
}

bool Options::parse(const std::vector<std::string>& arguments) {
  bool help_wanted = false;
  const OptionValues typed = from_command_line(arguments, help_wanted);
  if (help_wanted) return false;
  const OptionValues environment = from_environment();
  const auto last = [](const OptionValues& values, const std::string& name) -> std::string {
    for (const auto& [key, texts] : values)
      if (kebab(key) == name && !texts.empty()) return texts.back();
    return "";
  };
  std::string config_path = last(typed, "config");
  if (config_path.empty() && find("config")) config_path = last(environment, "config");
  const OptionValues config = config_path.empty() ? OptionValues{} : read_config(config_path, command_, commands_);
  if (!recipe_option_.empty()) {
    std::string chosen;
    for (const OptionValues* layer : {&typed, &environment, &config})
      if (chosen.empty()) chosen = last(*layer, recipe_option_);
    if (chosen.empty()) chosen = find(recipe_option_)->show().front();
    apply(*find(recipe_option_), {chosen}, Origin::standard);
    apply_all(recipe_values_(chosen), Origin::recipe, "recipe '" + chosen + "'");
  }
  apply_all(config, Origin::config, config_path);
  apply_all(environment, Origin::environment, "environment");
  apply_all(typed, Origin::command_line, "command line");
  for (const auto& e : entries_)
    check<UsageError>(!e->needed || e->origin != Origin::standard, e->positional ? "missing argument " : "missing option --",
                      e->positional ? "<" + e->name + ">" : e->name, ": ", e->help);
  return true;
}

Origin Options::origin(const std::string& name) const {
  const Entry* e = find(name);
  check(e != nullptr, "options: no option '", name, "'");
  return e->origin;
}

std::vector<std::pair<std::string, std::string>> Options::resolved() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& e : entries_) all.emplace_back(e->name, join(e->show(), ","));
  return all;
}

std::string Options::origin_table() const {
  std::size_t name_width = 0, value_width = 0;
  for (const auto& [name, value] : resolved())
    name_width = std::max(name_width, name.size()), value_width = std::max(value_width, std::min<std::size_t>(value.size(), 40));
  std::string text;
  for (const auto& e : entries_) {
    const std::string value = join(e->show(), ",");
    text += "  " + e->name + std::string(name_width - e->name.size() + 2, ' ') + (value.empty() ? "-" : value) +
            std::string(value_width + 2 - std::min(value_width, std::max<std::size_t>(value.size(), 1)), ' ') +
            name_of(e->origin) + "\n";
  }
  return text;
}

std::string Options::to_toml() const {
  std::string text = "# " + (command_.empty() ? "" : "cuboid " + command_ + " --config run.toml") + " repeats this run\n";
  for (const auto& e : entries_) {
    if (e->per_call) continue;
    std::vector<std::string> values = e->show();
    if (e->quoted)
      for (auto& v : values) v = toml_quoted(v);
    std::string key = e->name;
    std::replace(key.begin(), key.end(), '-', '_');
    const std::string value = e->list ? "[" + join(values, ", ") + "]" : values.front();
    text += key + " = " + value + "  # " + name_of(e->origin) + "\n";
  }
  return text;
}

}  // namespace cuboid::app
