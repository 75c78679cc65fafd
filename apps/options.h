// SPDX-License-Identifier: Apache-2.0
// Declared options: each binds a name to a variable. A value may come from the command line, the environment
// (CUBOID_LEARNING_RATE), a file (--config), a recipe or the default, in this order of precedence, and every value
// remembers where it came from.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace cuboid::app {

/// The command line is at fault. The programs exit with code 2.
struct UsageError : Error {
  using Error::Error;
};

enum class Origin : std::uint8_t { standard, recipe, config, environment, command_line };
const char* name_of(Origin origin);

/// Text values by option name (without dashes).
using OptionValues = std::vector<std::pair<std::string, std::vector<std::string>>>;

class Options {
 public:
  /// One declared option; returned by add() to say more about it.
  struct Entry {
    std::string name, short_name, placeholder, help, section;
    std::vector<std::string> allowed = {};
    double low = -1e300, high = 1e300;
    bool flag = false, list = false, positional = false, needed = false, number = false, quoted = true;
    bool per_call = false;  // belongs to this call, not to the run: left out of run.toml
    std::function<void(const std::vector<std::string>&)> assign = {};
    std::function<std::vector<std::string>()> show = {};
    Origin origin = Origin::standard;

    Entry& choices(std::vector<std::string> words) { return allowed = std::move(words), *this; }
    Entry& at_least(double value) { return low = value, *this; }
    Entry& at_most(double value) { return high = value, *this; }
    Entry& required() { return needed = true, *this; }
    Entry& not_saved() { return per_call = true, *this; }
  };

  /// `command` as typed after the program's name: "csf train".
  Options(std::string command, std::string purpose);
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  /// Options added from here on stand under this title in --help.
  void section(std::string title) { section_ = std::move(title); }
  /// flags: "--epochs" or "-e,--epochs". The variable's value at this moment is the default.
  Entry& add(const std::string& flags, bool* value, const std::string& help);
  Entry& add(const std::string& flags, std::int64_t* value, const std::string& help);
  Entry& add(const std::string& flags, double* value, const std::string& help);
  Entry& add(const std::string& flags, std::string* value, const std::string& help);
  Entry& add(const std::string& flags, std::vector<std::string>* value, const std::string& help);
  Entry& add(const std::string& flags, std::vector<std::int64_t>* value, const std::string& help);
  /// What stands on the command line without a dash.
  Entry& positional(const std::string& name, std::vector<std::string>* value, const std::string& help);
  Entry& positional(const std::string& name, std::string* value, const std::string& help);
  void example(std::string line, std::string what) { examples_.emplace_back(std::move(line), std::move(what)); }
  /// The option `name` chooses a recipe; `values` says what it sets.
  void recipe(const std::string& name, std::function<OptionValues(const std::string&)> values);
  /// Names of all commands, so that a config file may hold tables for several of them.
  void other_commands(std::vector<std::string> names) { commands_ = std::move(names); }

  /// Reads every layer and assigns the variables. Throws UsageError; false when --help was asked for.
  bool parse(const std::vector<std::string>& arguments);

  Origin origin(const std::string& name) const;
  std::string help() const;
  /// One line per option: name, value, origin.
  std::string origin_table() const;
  /// The resolved values as a file for --config, each with its origin as a comment.
  std::string to_toml() const;
  /// name -> value as text, in order of declaration.
  std::vector<std::pair<std::string, std::string>> resolved() const;
  const std::string& command() const { return command_; }

 private:
  Entry& make(const std::string& flags, const std::string& help);
  Entry* find(const std::string& name) const;
  std::vector<std::string> names() const;
  void apply(Entry& entry, const std::vector<std::string>& values, Origin origin);
  void apply_all(const OptionValues& values, Origin origin, const std::string& where);
  OptionValues from_command_line(const std::vector<std::string>& arguments, bool& help_wanted) const;
  OptionValues from_environment() const;

  std::string command_, purpose_, section_ = "options", recipe_option_;
  std::function<OptionValues(const std::string&)> recipe_values_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<std::pair<std::string, std::string>> examples_;
  std::vector<std::string> commands_;
};

/// Keys of a TOML file: those at the top, and those of the table [csf.train] for command "csf train". Tables of other
/// commands are skipped; anything else is an error.
OptionValues read_config(const std::string& path, const std::string& command, const std::vector<std::string>& commands);

}  // namespace cuboid::app
