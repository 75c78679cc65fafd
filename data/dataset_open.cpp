// SPDX-License-Identifier: Apache-2.0
// From folders and label tables to samples.
#include <algorithm>
#include <map>
#include <optional>

#include "core/files.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/formats/csv.h"
#include "data/formats/npy.h"
#include "data/volume.h"

namespace cuboid {
namespace {

namespace fs = std::filesystem;

std::optional<std::size_t> find_column(const CsvTable& table, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (table.has(name)) return table.column(name);
  return std::nullopt;
}

struct About {
  std::array<double, 3> spacing_um{};
  std::vector<std::string> class_names;
};

About read_about(const fs::path& folder) {
  About about;
  const fs::path file = folder / "dataset.json";
  if (!fs::exists(file)) return about;
  const Json json = Json::parse(read_file(file, 1 << 20), file.string());
  if (const Json* spacing = json.find("spacing_um")) {
    check<DataError>(spacing->is_array() && spacing->size() == 3, file.string(), ": spacing_um must be [z,y,x]");
    for (std::size_t a = 0; a < 3; ++a) about.spacing_um[a] = (*spacing)[a].as_double();
  }
  if (const Json* names = json.find("class_names"))
    for (const Json& name : names->as_array()) about.class_names.push_back(name.as_string());
  return about;
}

bool is_numpy(const fs::path& file) { return file.extension() == ".npy" || file.string().ends_with(".npy.gz"); }

/// Length of axis 0 of a stacked array (N,D,H,W); 0 when it is no stack.
std::int64_t stack_length(const fs::path& file) {
  const Shape shape = is_numpy(file) ? read_npy_header(file).shape : load_volume(file).image.shape();
  return shape.rank() >= 4 ? shape[0] : 0;
}

/// The one stacked array of a folder.
fs::path find_stack(const fs::path& folder, const std::string& table) {
  std::vector<fs::path> stacks;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && is_numpy(entry.path()) && stack_length(entry.path()) > 0) stacks.push_back(entry.path());
  std::sort(stacks.begin(), stacks.end());
  check<DataError>(!stacks.empty(), table, ": has a column 'index', but there is no array of shape (N,D,H,W) beside it");
  check<DataError>(stacks.size() == 1, table, ": several arrays of shape (N,D,H,W) lie beside it (",
                   stacks[0].filename().string(), ", ", stacks.size() > 1 ? stacks[1].filename().string() : "",
                   "); give the one to use instead of the folder");
  return stacks[0];
}

std::string row_name(const fs::path& file, std::int64_t index) { return join_text(file.filename().string(), ":", index); }

/// Names of the classes 0 ... highest label: from the column `class`, else as dataset.json says, else the number.
std::vector<std::string> name_classes(const std::vector<Sample>& samples, const std::map<std::int64_t, std::string>& from_table,
                                      const std::vector<std::string>& from_about, const std::string& table) {
  std::int64_t highest = -1;
  for (const auto& s : samples) highest = std::max(highest, s.label);
  check<DataError>(highest < 10'000, table, ": label ", highest, " is too large; labels count the classes from 0");
  std::vector<std::string> names;
  for (std::int64_t c = 0; c <= highest; ++c) {
    const auto found = from_table.find(c);
    if (found != from_table.end()) names.push_back(found->second);
    else if (c < static_cast<std::int64_t>(from_about.size())) names.push_back(from_about[static_cast<std::size_t>(c)]);
    else names.push_back(std::to_string(c));
  }
  return names;
}

/// `array`: the stacked array to use, when the caller named one.
Dataset from_table(const fs::path& table_file, fs::path array, const DatasetOptions& options) {
  const CsvTable table = read_csv(table_file);
  const std::string table_name = table_file.string();
  const fs::path folder = table_file.parent_path();
  const auto file = find_column(table, {"file", "filename", "path"}), index = find_column(table, {"index"});
  const auto label = find_column(table, {"label"}), group = find_column(table, {"group", "patient"}),
             title = find_column(table, {"class", "class_name"});
  check<DataError>(file || index, table_name, ": needs a column 'file' or 'index'");
  check<DataError>(label || !options.need_labels, table_name, ": needs a column 'label'");
  check<DataError>(!table.rows.empty(), table_name, ": no rows");
  if (index && array.empty() && !file) array = find_stack(folder, table_name);
  const bool stacked = index && (!file || !array.empty());
  const std::int64_t length = stacked ? stack_length(array) : 0;
  check<DataError>(!stacked || length > 0, array.string(), ": not an array of shape (N,D,H,W)");

  std::vector<Sample> samples;
  std::map<std::string, std::int64_t> line_of;
  std::map<std::int64_t, std::string> class_names;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const std::string where = join_text(table_name, " line ", table.lines[row]);
    const auto cell = [&](std::size_t column) -> const std::string& { return table.rows[row][column]; };
    Sample s;
    if (stacked) {
      s.file = array;
      s.index = table.integer(row, *index);
      s.name = row_name(array, s.index);
      check<DataError>(s.index >= 0 && s.index < length, where, ": index ", s.index, ", but ", array.string(), " has ", length,
                       " volumes");
    } else {
      check<DataError>(!cell(*file).empty(), where, ": no file name");
      s.name = fs::path(cell(*file)).lexically_normal().generic_string();
      s.file = folder / s.name;
      check<DataError>(fs::is_regular_file(s.file), where, ": file ", s.file.string(), " does not exist");
      if (index) {
        s.index = table.integer(row, *index);
        check<DataError>(s.index >= 0, where, ": index ", s.index, " is negative");
        s.name += join_text(":", s.index);
      }
    }
    const auto [first, is_new] = line_of.emplace(s.name, table.lines[row]);
    check<DataError>(is_new, where, ": ", s.name, " is already in line ", first->second);
    if (label) {
      s.label = table.integer(row, *label);
      check<DataError>(s.label >= 0, where, ": label ", s.label, " is negative; labels count the classes from 0");
    }
    if (group) s.group = cell(*group);
    if (title && label) {
      const auto [name, fresh] = class_names.emplace(s.label, cell(*title));
      check<DataError>(fresh || name->second == cell(*title), where, ": label ", s.label, " is called '", cell(*title),
                       "' here and '", name->second, "' above");
    }
    samples.push_back(std::move(s));
  }
  const About about = read_about(folder);
  auto names = name_classes(samples, class_names, about.class_names, table_name);
  return Dataset(std::move(samples), std::move(names), options, about.spacing_um);
}

}  // namespace

std::vector<std::string> list_volumes(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied))
    if (entry.is_regular_file() && looks_like_volume(entry.path()))
      names.push_back(fs::relative(entry.path(), folder).generic_string());
  std::sort(names.begin(), names.end());
  return names;
}

Dataset open_dataset(const fs::path& path, const DatasetOptions& options) {
  check<DataError>(fs::exists(path), path.string(), ": no such file or folder");
  if (fs::is_directory(path)) {
    if (fs::exists(path / "labels.csv")) return from_table(path / "labels.csv", {}, options);
    const auto names = list_volumes(path);
    check<DataError>(!names.empty(), path.string(), ": an empty folder: neither labels.csv nor a volume (", volume_formats(),
                     ")");
    check<DataError>(!options.need_labels, path.string(), ": no labels.csv beside the ", names.size(),
                     " volumes; it needs a header line 'file,label' (and may have 'group', 'class')");
    std::vector<Sample> samples;
    for (const auto& name : names) samples.push_back({.name = name, .file = path / name});
    return Dataset(std::move(samples), {}, options, read_about(path).spacing_um);
  }
  if (path.extension() == ".csv") return from_table(path, {}, options);
  const std::int64_t length = stack_length(path);
  const fs::path table = path.parent_path() / "labels.csv";
  if (length > 0 && fs::exists(table) && read_csv(table).has("index")) return from_table(table, path, options);
  check<DataError>(!options.need_labels, path.string(), ": no labels for it",
                   length > 0 ? "; a labels.csv with the columns 'index' and 'label' has to lie beside it" : "");
  std::vector<Sample> samples;
  if (length == 0) samples.push_back({.name = path.filename().string(), .file = path});
  for (std::int64_t i = 0; i < length; ++i) samples.push_back({.name = row_name(path, i), .file = path, .index = i});
  return Dataset(std::move(samples), {}, options, read_about(path.parent_path()).spacing_um);
}

}  // namespace cuboid
