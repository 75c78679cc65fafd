// SPDX-License-Identifier: Apache-2.0
#include "apps/bench/lean.h"

#include <algorithm>

#include "apps/progress.h"
#include "apps/text.h"
#include "core/files.h"

namespace cuboid::bench {
namespace fs = std::filesystem;
namespace {

constexpr double mib = 1 << 20;

double first_answer_ms(const Words& command, const Words& environment) {
  const app::Stopwatch watch;
  Child child(command, environment);
  check(!child.line().empty(), "bench: ", command.front(), " gave no result");
  return 1e3 * watch.seconds();
}

/// Size of the program, stripped where binutils are at hand.
double stripped_bytes(const fs::path& program, const fs::path& scratch) {
  const fs::path copy = scratch / "stripped";
  try {
    output_of({"strip", "-o", copy.string(), program.string()});
    return static_cast<double>(fs::file_size(copy));
  } catch (const Error&) {
    return static_cast<double>(fs::file_size(program));
  }
}

std::vector<std::string> libraries_of(const fs::path& program) {
  try {
    return closure(output_of({"ldd", program.string()}));
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

Figure startup(const Programs& programs, const Case& c, const std::string& file, const LeanOptions& o) {
  Figure f{"startup/" + c.name, "start to first prediction, one sample, " + c.title.substr(0, c.title.find(',')), "ms"};
  const Words ours{programs.cuboid.string(), "first", c.name, file}, theirs{programs.libtorch.string(), "first", c.name, file};
  for (int i = -1; i < o.starts; ++i) {  // the first fills the page cache
    const double a = first_answer_ms(ours, plain_environment(o.threads));
    if (i >= 0) f.cuboid.push_back(a);
    if (!c.in_libtorch) continue;
    const double b = first_answer_ms(theirs, plain_environment(o.threads));
    if (i >= 0) f.libtorch.push_back(b);
  }
  return f;
}

std::vector<std::string> closure(const std::string& ldd_output) {
  std::vector<std::string> found;
  for (const std::string& line : app::split(ldd_output, '\n')) {
    const auto arrow = line.find("=> /");
    if (arrow == line.npos) continue;  // the kernel's and the loader have no arrow
    const std::string path = line.substr(arrow + 3, line.find(" (", arrow) - arrow - 3);
    const std::string name = path.substr(path.rfind('/') + 1);
    constexpr const char* own[] = {"libc.so", "libm.so", "libpthread.so", "libdl.so", "librt.so"};
    const bool libc = std::any_of(std::begin(own), std::end(own), [&](const char* o) { return name.starts_with(o); });
    if (!libc) found.push_back(path);
  }
  return found;
}

std::vector<Figure> sizes(const Programs& programs, const fs::path& scratch) {
  Figure bytes{"size/closure", "program, stripped, with its shared libraries but the C library", "MiB"};
  Figure count{"size/libraries", "shared libraries it loads", ""};
  const auto add = [&](const fs::path& program, std::vector<double>& size, std::vector<double>& number) {
    if (program.empty()) return;
    double total = stripped_bytes(program, scratch);
    const auto libraries = libraries_of(program);
    std::error_code error;
    for (const auto& library : libraries) {
      const auto own = fs::file_size(fs::canonical(library, error), error);
      if (!error) total += static_cast<double>(own);
    }
    size.push_back(total / mib);
    number.push_back(static_cast<double>(libraries.size()));
  };
  add(programs.cuboid, bytes.cuboid, count.cuboid);
  add(programs.libtorch, bytes.libtorch, count.libtorch);
  return {bytes, count};
}

std::string compile_command(const Json& commands, const std::string& source, const std::string& to) {
  for (const Json& entry : commands.as_array()) {
    if (!entry.at("file").as_string().ends_with("/" + source)) continue;
    std::vector<std::string> words = app::split(entry.at("command").as_string(), ' ');
    std::string text = "cd '" + entry.at("directory").as_string() + "' &&";
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (i == 0 && words[i].ends_with("ccache")) continue;
      if (i > 0 && words[i - 1] == "-o") words[i] = "'" + to + "'";
      text += " " + words[i];
    }
    return text;
  }
  return "";
}

std::vector<Figure> compile_time(const Programs& programs, const fs::path& scratch, const LeanOptions& o) {
  const fs::path file = programs.build / "compile_commands.json";
  std::error_code error;
  if (!fs::exists(file, error)) return {};
  const Json commands = Json::parse(read_file(file), file.string());
  const std::string to = (scratch / "compiled.o").string();
  Figure f{"compile/densenet", "compile time of the file that defines the DenseNet", "s"};
  const auto time = [&](const std::string& source, std::vector<double>& seconds) {
    const std::string command = compile_command(commands, source, to);
    if (command.empty()) return;
    const app::Stopwatch watch;
    output_of({"/bin/sh", "-c", command}, {"CCACHE_DISABLE=1"});
    seconds.push_back(watch.seconds());
  };
  for (int i = 0; i < o.compiles; ++i) {
    time("nets/densenet.cpp", f.cuboid);
    if (!programs.libtorch.empty()) time("bench/libtorch/torch/densenet.cpp", f.libtorch);
  }
  return {f};
}

}  // namespace cuboid::bench
