// SPDX-License-Identifier: Apache-2.0
#include "apps/app.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <new>

#include "apps/text.h"
#include "core/build_info.h"
#include "core/cuda.h"
#include "core/driver.h"
#include "core/parallel.h"
#include "data/volume.h"
#include "kernels/dispatch.h"

namespace cuboid::app {
namespace {

std::vector<std::string>& process_arguments() {
  static std::vector<std::string> arguments;
  return arguments;
}

std::string shell_quoted(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || std::strchr("_-./:=,+@%", c);
  });
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// First line "error: ...", lines that begin with two blanks belong to it, the rest are hints.
int report(const std::string& message, int code, const std::string& fallback_hint = "") {
  const std::vector<std::string> lines = split(message, '\n');
  std::cerr << "error: " << lines.front() << '\n';
  bool hinted = false;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    std::string line = lines[i].substr(std::min(lines[i].find_first_not_of(' '), lines[i].size()));
    if (line.empty()) continue;
    if (!hinted && lines[i].starts_with("  ") && !line.starts_with("hint: ")) {  // the error goes on
      std::cerr << "  " << line << '\n';
      continue;
    }
    if (!hinted && !line.starts_with("hint: ")) line = "hint: " + line;
    std::cerr << (hinted && !line.starts_with("hint: ") ? "        " : "  ") << line << '\n';
    hinted = true;
  }
  if (!hinted && !fallback_hint.empty()) std::cerr << "  hint: " << fallback_hint << '\n';
  return code;
}

/// A message that begins with the name of a volume: what can be read of it is seen with info.
std::string hint_about_file(const std::string& message) {
  const std::string file = message.substr(0, message.find(": "));
  const bool in_info = process_arguments().size() > 1 && process_arguments()[1] == "info";
  std::error_code error;
  if (in_info) return "";
  if (message.find("o such file or ") != message.npos) return "check the name; 'runs/latest' is the newest run";
  if (!std::filesystem::is_regular_file(file, error) || !looks_like_volume(file))
    return "'cuboid info FILE' shows what can be read of a file";
  return "'cuboid info " + shell_quoted(file) + "' shows what can be read of it";
}

volatile std::sig_atomic_t caught = 0;

std::atomic<bool> catching = false;

std::mutex last_guard;
std::function<void()>& last() {
  static auto& words = *new std::function<void()>;
  return words;
}

void on_signal(int number) {
  if (caught) _exit(interrupted);
  caught = number;
}

std::string overview(const std::vector<Command>& commands) {
  std::string text =
      "cuboid " + version() + ": 3D convolutional networks, from training to report\n\nusage: cuboid <command> [options]\n\n";
  std::size_t width = 0;
  for (const auto& c : commands) width = std::max(width, std::strlen(c.path));
  for (const auto& c : commands)
    text += "  " + std::string(c.path) + std::string(width - std::strlen(c.path) + 2, ' ') + c.purpose + "\n";
  return text +
         "\nexamples:\n  cuboid demo                          # train, evaluate and explain on phantom cells, in a minute\n"
         "  cuboid csf train -d cells/ --folds 5  # cross-validation on your own folder with a labels.csv\n"
         "\n'cuboid <command> --help' shows the options of a command.\n"
         "exit codes: 0 ok, 1 failed, 2 usage, 3 bad data, 4 out of memory, 5 device, 130 interrupted (checkpoint saved)\n";
}

/// Commands below `group` ("csf"), or the first words of all.
std::vector<std::string> words_below(const std::string& group, const std::vector<Command>& commands) {
  std::vector<std::string> words;
  for (const auto& c : commands) {
    const std::string path = c.path;
    if (!group.empty() && !path.starts_with(group + " ")) continue;
    const std::string rest = group.empty() ? path : path.substr(group.size() + 1);
    const std::string word = rest.substr(0, rest.find(' '));
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  return words;
}

int dispatch(std::vector<std::string> arguments, const std::vector<Command>& commands) {
  std::string path;
  while (!arguments.empty()) {
    const std::string word = arguments.front();
    if (word == "-h" || word == "--help" || word == "help") {
      std::vector<Command> shown;
      for (const auto& c : commands)
        if (path.empty() || std::string(c.path).starts_with(path + " ")) shown.push_back(c);
      std::cout << overview(shown);
      return success;
    }
    if (path.empty() && (word == "--version" || word == "-V" || word == "version")) {
      std::cout << "cuboid " << version() << '\n';
      return success;
    }
    const std::string longer = path.empty() ? word : path + " " + word;
    arguments.erase(arguments.begin());
    const auto is = [&](const std::string& name) {
      return std::any_of(commands.begin(), commands.end(), [&](const Command& c) { return name == c.path; });
    };
    for (const auto& c : commands)  // "bench compare" before "bench"
      if (longer == c.path && (arguments.empty() || !is(longer + " " + arguments.front()))) return c.run(arguments);
    const auto words = words_below(path, commands);
    if (std::find(words.begin(), words.end(), word) == words.end())
      fail<UsageError>(with_hint(join_text(word.starts_with("-") ? "unknown option '" : "unknown command '", path,
                                           path.empty() ? "" : " ", word, "'", did_you_mean(word, words)),
                                 "'cuboid --help' lists the commands"));
    path = longer;
  }
  if (!path.empty())
    fail<UsageError>(with_hint("'" + path + "' needs a command: " + join(words_below(path, commands), ", "),
                               "for example: cuboid " + path + " " + words_below(path, commands).front() + " --help"));
  std::cout << overview(commands);
  return success;
}

template <class F>
int with_exit_code(F&& body) {
  try {
    const int code = body();
    errno = 0;
    std::cout.flush();
    check(std::cout.good(), "standard output: cannot write", errno ? ": " : "", errno ? std::strerror(errno) : "");
    return code;
  } catch (const UsageError& e) {
    return report(e.what(), usage_error);
  } catch (const Interrupted& e) {
    std::cerr << e.what() << '\n';
    return interrupted;
  } catch (const DataError& e) {
    return report(e.what(), bad_data, hint_about_file(e.what()));
  } catch (const OutOfMemory& e) {
    return report(e.what(), out_of_memory, "a smaller --batch-size needs less memory");
  } catch (const std::bad_alloc&) {
    return report("out of memory", out_of_memory, "a smaller --batch-size needs less memory");
  } catch (const DeviceError& e) {
    return report(e.what(), device_error, "'cuboid doctor' shows what this build can use");
  } catch (const std::exception& e) {
    return report(e.what(), runtime_error);
  }
}

}  // namespace

std::string with_hint(const std::string& message, const std::string& hint) { return message + "\nhint: " + hint; }

void Common::add(Options& options) {
  options.section("common options");
  options.add("--threads,-j", &threads, "processor threads to use, 0 = all").at_least(0).at_most(4096);
  options.add("--seed", &seed, "seed of everything random").at_least(0);
  options.add("--device", &device, "where to compute").choices({"auto", "cpu", "cuda"});
  options.add("--deterministic", &deterministic, "the same bits every time on a CUDA device, too; the CPU gives them anyway");
  options.add("--config,-c", &config, "read options from this TOML file").not_saved();
  options.add("--json", &json, "machine-readable results on standard output").not_saved();
  options.add("--dry-run", &dry_run, "show every value with its origin, check the input, do nothing").not_saved();
  options.add("--quiet,-q", &quiet, "no progress on standard error").not_saved();
}

void Common::apply() const {
  if (threads > 0) set_thread_count(static_cast<int>(threads));
  if (deterministic) dispatch::set_deterministic(true);
  if (device != "cuda" || cuda::available()) return;
#if CUBOID_CUDA
  fail<DeviceError>(with_hint("--device cuda: no CUDA device answers: " + cuda::device_problem(), "use --device cpu (or auto)"));
#else
  fail<DeviceError>(with_hint("--device cuda: this build has no CUDA support", "use --device cpu (or auto)"));
#endif
}

Device Common::where() const {
#if CUBOID_EMULATED  // for tests only, slow
  const bool automatic = false;
#else
  const bool automatic = cuda::available();
#endif
  return device == "cuda" || (device == "auto" && automatic) ? Device::cuda : Device::cpu;
}

bool parse_or_help(Options& options, const std::vector<std::string>& arguments) {
  try {
    if (options.parse(arguments)) return true;
  } catch (const UsageError& e) {
    const std::string message = e.what();
    throw UsageError(message.find('\n') == message.npos
                         ? with_hint(message, "'cuboid " + options.command() + " --help' lists the options")
                         : message);
  }
  std::cout << options.help();
  return false;
}

int run_command(const Arguments& arguments, const std::vector<Command>& commands) { return dispatch(arguments, commands); }

int run_main(int argc, char** argv, const std::vector<Command>& commands) {
  std::signal(SIGPIPE, SIG_IGN);
  process_arguments().assign(argv, argv + argc);
  std::ios::sync_with_stdio(false);
  return with_exit_code([&] { return dispatch({argv + std::min(argc, 1), argv + argc}, commands); });
}

std::string command_line() { return command_line(process_arguments()); }
std::string command_line(const Arguments& words) {
  std::vector<std::string> quoted;
  for (const auto& word : words) quoted.push_back(shell_quoted(word));
  return join(quoted, " ");
}

void catch_signals() {
  catching = true;
  hear_signals();
}
void hear_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int stop_signal() { return caught; }
bool catches_signals() { return catching; }

void before_sudden_end(std::function<void()> last_words) {
  const std::scoped_lock lock(last_guard);
  last() = std::move(last_words);
}
void end_suddenly(int code) {
  const std::scoped_lock lock(last_guard);
  try {
    if (last()) last()();
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
  }
  _exit(code);
}
void request_stop(int signal) { caught = signal; }

std::string version() {
  const std::string number(build::version), revision = build::revision;
  return revision == "v" + number ? number : number + " (" + revision + ")";
}

}  // namespace cuboid::app
