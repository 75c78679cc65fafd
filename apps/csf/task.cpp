// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/task.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>

#include "core/files.h"

namespace cuboid::csf {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t max_task_bytes = 1 << 20;
constexpr int max_task_depth = 16;

std::string where(const std::string& file, const YAML::Node& node) {
  return node.Mark().line >= 0 ? join_text(file, " line ", node.Mark().line + 1) : file;
}

std::string scalar(const YAML::Node& node, const std::string& file, const std::string& what) {
  check<DataError>(node.IsScalar() && !node.Scalar().empty(), where(file, node), ": ", what, " must be a name or a number");
  return node.Scalar();
}

std::vector<std::string> names(const YAML::Node& node, const std::string& file, const std::string& what) {
  check<DataError>(node.IsSequence(), where(file, node), ": ", what, " must be a list of patients, as in [1, 4, 7]");
  std::vector<std::string> list;
  for (const auto& item : node) {
    const std::string name = scalar(item, file, what);
    check<DataError>(std::find(list.begin(), list.end(), name) == list.end(), where(file, item), ": patient ", name,
                     " is twice in ", what);
    list.push_back(name);
  }
  return list;
}

/// The parser recurses: refuse what would nest deeply, in brackets or by indentation, before it sees the text.
void check_depth(const std::string& text, const std::string& file) {
  int depth = 0;
  std::size_t line = 1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n') ++line;
    depth += (text[i] == '[' || text[i] == '{') - (text[i] == ']' || text[i] == '}');
    const bool many_dashes = text.compare(i, 2 * max_task_depth, std::string_view("- - - - - - - - - - - - - - - - ")) == 0;
    check<DataError>(depth <= max_task_depth && !many_dashes, file, " line ", line, ": nested too deeply");
  }
}

using Folders = std::map<std::string, std::string>;

Folders read_folders(const YAML::Node& node, const std::string& file) {
  check<DataError>(node.IsMap(), where(file, node), ": folders must map folder names to patients, as in 20221011: 1");
  Folders folders;
  for (const auto& entry : node) {
    const std::string folder = scalar(entry.first, file, "a folder");
    check<DataError>(folders.emplace(folder, scalar(entry.second, file, "the patient of folder " + folder)).second,
                     where(file, entry.first), ": folder ", folder, " is there twice");
  }
  return folders;
}

/// "group3_patients" -> class 2 and "patients"; -1 when the field is none of a group's.
int group_field(const std::string& field, std::string& part) {
  if (!field.starts_with("group") || field.size() < 6 || field[5] < '1' || field[5] > '9') return -1;
  std::size_t digits = 5;
  while (digits < field.size() && field[digits] >= '0' && field[digits] <= '9') ++digits;
  if (digits > 7) return -1;
  part = field.substr(digits);
  return std::stoi(field.substr(5, digits - 5)) - 1;
}

Task read_one(const std::string& name, const YAML::Node& node, const std::string& file, const Folders& folders) {
  check<DataError>(node.IsMap(), where(file, node), ": task ", name, " must have fields (group1, group1_patients, ...)");
  Task task{.name = name, .folders = folders};
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const std::string field = scalar(entry.first, file, "a field"), at = where(file, entry.first);
    check<DataError>(seen.insert(field).second, at, ": ", field, " is there twice");
    if (field == "celltype") {
      task.celltype = scalar(entry.second, file, field);
      continue;
    }
    std::string part;
    const int c = group_field(field, part);
    check<DataError>(c >= 0 && c < 100 && (part.empty() || part == "_patients" || part == "_test"), at, ": unknown field '",
                     field, "' (known: celltype, groupN, groupN_patients, groupN_test)");
    if (static_cast<std::size_t>(c) >= task.classes.size()) task.classes.resize(static_cast<std::size_t>(c) + 1);
    TaskClass& group = task.classes[static_cast<std::size_t>(c)];
    if (part.empty()) group.name = scalar(entry.second, file, field);
    else (part == "_test" ? group.held_out : group.patients) = names(entry.second, file, field);
  }
  const std::string at = where(file, node);
  check<DataError>(task.classes.size() >= 2, at, ": task ", name, " needs group1 and group2");
  std::map<std::string, std::string> group_of;
  for (std::size_t c = 0; c < task.classes.size(); ++c) {
    TaskClass& group = task.classes[c];
    check<DataError>(!group.name.empty(), at, ": task ", name, " has no group", c + 1);
    for (const auto& patient : group.held_out)
      if (std::find(group.patients.begin(), group.patients.end(), patient) == group.patients.end())
        group.patients.push_back(patient);
    check<DataError>(!group.patients.empty(), at, ": group '", group.name, "' of task ", name, " has no patients (group", c + 1,
                     "_patients)");
    for (const auto& patient : group.patients) {
      const auto [other, fresh] = group_of.emplace(patient, group.name);
      check<DataError>(fresh, at, ": patient ", patient, " of task ", name, " is in both groups, '", other->second, "' and '",
                       group.name, "'");
    }
  }
  return task;
}

/// Where the program's own task files are: beside an installed program, or in the source tree above a built one.
std::vector<fs::path> task_folders() {
  std::vector<fs::path> folders;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return folders;
  folders.push_back(program.parent_path().parent_path() / "share/cuboid/tasks");
  for (fs::path p = program.parent_path(); p != p.parent_path(); p = p.parent_path()) folders.push_back(p / "apps/csf/tasks");
  return folders;
}

/// Label and held-out mark of a patient; label -1 when the task does not name it.
std::pair<std::int64_t, bool> place_of(const Task& task, const std::string& patient) {
  const auto contains = [&](const auto& list) { return std::find(list.begin(), list.end(), patient) != list.end(); };
  for (std::size_t c = 0; c < task.classes.size(); ++c)
    if (contains(task.classes[c].patients)) return {static_cast<std::int64_t>(c), contains(task.classes[c].held_out)};
  return {-1, false};
}

}  // namespace

std::vector<Task> read_tasks(const fs::path& path) {
  const std::string file = path.string(), text = read_file(path, max_task_bytes);
  check_depth(text, file);
  YAML::Node root;
  try {
    root = YAML::Load(text);
  } catch (const YAML::Exception& error) {
    fail<DataError>(file, " line ", error.mark.line + 1, ": ", error.msg);
  }
  check<DataError>(root.IsMap(), file, ": a task file maps the task's name to its fields");
  Folders folders;
  std::set<std::string> seen;
  for (const auto& entry : root) {
    const std::string name = scalar(entry.first, file, "a task's name");
    check<DataError>(seen.insert(name).second, where(file, entry.first), ": ", name, " is there twice");
    if (name == "folders") folders = read_folders(entry.second, file);
  }
  std::vector<Task> tasks;
  for (const auto& entry : root)
    if (entry.first.Scalar() != "folders") tasks.push_back(read_one(entry.first.Scalar(), entry.second, file, folders));
  check<DataError>(!tasks.empty(), file, ": no task in it");
  return tasks;
}

Task read_task(const fs::path& file, const std::string& name) {
  auto tasks = read_tasks(file);
  if (name.empty() && tasks.size() == 1) return tasks[0];
  std::string there;
  for (auto& task : tasks) {
    if (task.name == name) return task;
    there += (there.empty() ? "" : ", ") + task.name;
  }
  if (name.empty()) fail<DataError>(file.string(), ": several tasks, name one of them: ", there);
  fail<DataError>(file.string(), ": no task '", name, "' (there are: ", there, ")");
}

fs::path find_task_file(const std::string& name_or_file) {
  if (fs::is_regular_file(name_or_file)) return name_or_file;
  const bool plain = name_or_file.find('/') == name_or_file.npos && name_or_file.find("..") == name_or_file.npos;
  if (plain)
    for (const auto& folder : task_folders())
      if (fs::is_regular_file(folder / (name_or_file + ".yaml"))) return folder / (name_or_file + ".yaml");
  std::string there;
  for (const auto& name : shipped_tasks()) there += (there.empty() ? "" : ", ") + name;
  fail<DataError>("task: no file ", name_or_file, there.empty() ? "" : "; tasks that come with the program: " + there);
}

std::vector<std::string> shipped_tasks() {
  std::vector<std::string> found;
  for (const auto& folder : task_folders()) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error))
      if (entry.path().extension() == ".yaml") found.push_back(entry.path().stem().string());
    if (!found.empty()) break;
  }
  std::sort(found.begin(), found.end());
  return found;
}

Dataset open_task(const fs::path& root, const Task& task, const DatasetOptions& options) {
  check<DataError>(fs::exists(root), root.string(), ": no such file or folder");
  std::vector<Sample> samples;
  std::array<double, 3> spacing{};
  if (!fs::is_directory(root) || fs::exists(root / "labels.csv")) {
    DatasetOptions any = options;
    any.need_labels = false;
    const Dataset table = open_dataset(root, any);
    check<DataError>(table.has_groups(), root.string(), ": a task needs patients; labels.csv has no column 'group' or 'patient'");
    samples = table.samples();
    spacing = table.spacing_um();
  } else {
    for (const auto& [folder, patient] : task.folders) {
      fs::path place = root / folder;
      if (!fs::is_directory(place)) place = root / (folder + "_csf");
      if (!fs::is_directory(place)) continue;
      for (const auto& name : list_volumes(place))
        samples.push_back({.name = (place.filename() / name).generic_string(), .file = place / name, .group = patient});
    }
    check<DataError>(!samples.empty(), root.string(), ": neither labels.csv nor volumes in one of the ", task.folders.size(),
                     " folders of the task");
  }
  std::vector<Sample> chosen;
  std::vector<std::int64_t> cells(task.classes.size(), 0);
  for (auto& s : samples) {
    std::tie(s.label, s.held_out) = place_of(task, s.group);
    if (s.label < 0) continue;
    ++cells[static_cast<std::size_t>(s.label)];
    chosen.push_back(std::move(s));
  }
  std::vector<std::string> class_names;
  for (std::size_t c = 0; c < cells.size(); ++c) {
    class_names.push_back(task.classes[c].name);
    check<DataError>(cells[c] > 0, root.string(), ": no cell of a patient of group '", task.classes[c].name, "' (task ",
                     task.name, ")");
  }
  return Dataset(std::move(chosen), std::move(class_names), options, spacing);
}

}  // namespace cuboid::csf
