// SPDX-License-Identifier: Apache-2.0
// From folders to cases.
#include <algorithm>
#include <map>

#include "core/files.h"
#include "core/json.h"
#include "data/dataset.h"
#include "data/labelled_read.h"
#include "data/patch_cut.h"

namespace cuboid {
namespace {

namespace fs = std::filesystem;

/// dataset.json, ours or nnU-Net's: {"labels": {"background": 0, ...}} is the same in both.
struct About {
  Json json;  // null: there is none
  std::string file;
  std::optional<Head> head;
  Spacing spacing{};
  std::vector<std::string> class_names;
};

Spacing spacing_in(const Json& json, const std::string& where) {
  const Json* value = json.find("spacing_um");
  if (!value) return {};
  check<DataError>(value->is_array() && value->size() == 3, where, ": spacing_um must be [z,y,x]");
  Spacing s;
  for (std::size_t a = 0; a < 3; ++a) {
    s[a] = (*value)[a].as_double();
    check<DataError>(s[a] > 0 && s[a] < 1e9, where, ": a spacing of ", s[a], " um");
  }
  return s;
}

std::vector<std::string> names_in(const Json& labels, const std::string& where) {
  check<DataError>(labels.is_object() && labels.size() <= 65536, where,
                   ": labels must map names to numbers, as in {\"background\": 0, \"cell\": 1}");
  std::vector<std::string> names(labels.size());
  for (const auto& [name, value] : labels.as_object()) {
    check<DataError>(value.is_integer(), where, ": the label of '", name, "' is no whole number");
    const std::int64_t k = value.as_int();
    check<DataError>(k >= 0 && k < static_cast<std::int64_t>(names.size()), where, ": label ", k, " of '", name,
                     "': ", names.size(), " classes are numbered 0 to ", names.size() - 1);
    check<DataError>(names[static_cast<std::size_t>(k)].empty(), where, ": '", names[static_cast<std::size_t>(k)], "' and '",
                     name, "' are both label ", k);
    names[static_cast<std::size_t>(k)] = name.empty() ? std::to_string(k) : name;
  }
  return names;
}

About read_about(const fs::path& folder) {
  About about;
  const fs::path file = folder / "dataset.json";
  about.file = file.string();
  if (!fs::exists(file)) return about;
  about.json = Json::parse(read_file(file), about.file);
  check<DataError>(about.json.is_object(), about.file, ": must be an object");
  about.spacing = spacing_in(about.json, about.file);
  if (const Json* labels = about.json.find("labels")) about.class_names = names_in(*labels, about.file);
  if (const Json* head = about.json.find("head")) about.head = head_of(head->as_string());
  return about;
}

/// "a/b.nii.gz" -> "a/b".
std::string stem_of(const std::string& name) { return (fs::path(name).parent_path() / volume_name(name)).generic_string(); }

/// Stem -> file, of all volumes in the folder and below.
std::map<std::string, std::string> volumes_in(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& name : list_volumes(folder)) {
    const auto [other, fresh] = files.emplace(stem_of(name), name);
    check<DataError>(fresh, folder.string(), ": ", other->second, " and ", name, " are one case in two formats");
  }
  return files;
}

/// images/ beside labels/ or targets/.
void add_pairs(const fs::path& images, const fs::path& labels, const fs::path& targets, const std::string& split, bool need_truth,
               std::vector<LabelledCase>& cases) {
  auto masks = fs::is_directory(labels) ? volumes_in(labels) : std::map<std::string, std::string>();
  auto maps = fs::is_directory(targets) ? volumes_in(targets) : std::map<std::string, std::string>();
  const auto found = volumes_in(images);
  check<DataError>(!found.empty(), images.string(), ": no volumes in this folder");
  for (const auto& [stem, file] : found) {
    LabelledCase c{.name = stem, .image = images / file, .split = split};
    // nnU-Net's images end in the number of their channel.
    const std::string plain = stem.ends_with("_0000") ? stem.substr(0, stem.size() - 5) : stem;
    const auto take = [&](auto& from, const fs::path& folder, fs::path& to) {
      auto at = from.find(stem);
      if (at == from.end()) at = from.find(plain);
      if (at == from.end()) return;
      c.name = at->first;
      to = folder / at->second;
      from.erase(at);
    };
    take(masks, labels, c.labels);
    take(maps, targets, c.target);
    check<DataError>(c.has_truth() || !need_truth, c.image.string(), ": no file of this name in ",
                     fs::is_directory(labels) ? labels.string() : targets.string());
    cases.push_back(std::move(c));
  }
  for (const auto* rest : {&masks, &maps})
    check<DataError>(rest->empty(), images.string(), ": no image for ",
                     rest->empty() ? "" : ((rest == &masks ? labels : targets) / rest->begin()->second).string());
}

bool is_mat(const fs::path& file) { return file.extension() == ".mat"; }

LabelledCase case_of(const fs::path& file, const std::string& name, const std::string& split, bool need_truth) {
  LabelledCase c{.name = stem_of(name), .image = file, .split = split};
  if (is_mat(file)) {
    c.image_entry = "input";
    if (need_truth) c.target = file, c.target_entry = "target";
  }
  return c;
}

/// One folder of one part. False when it holds nothing that could be a case.
bool add_folder(const fs::path& folder, const std::string& split, bool need_truth, std::vector<LabelledCase>& cases) {
  const fs::path images = folder / "images", labels = folder / "labels", targets = folder / "targets";
  if (fs::is_directory(images) && (fs::is_directory(labels) || fs::is_directory(targets) || !need_truth)) {
    add_pairs(images, labels, targets, split, need_truth, cases);
    return true;
  }
  bool any = false;
  for (const auto& name : list_volumes(folder)) {
    if (need_truth && !is_mat(name)) continue;
    cases.push_back(case_of(folder / name, name, split, need_truth));
    any = true;
  }
  return any;
}

/// What `deepis prepare` writes, or somebody by hand.
std::vector<LabelledCase> listed(const fs::path& folder, const About& about) {
  std::vector<LabelledCase> cases;
  for (const Json& entry : about.json.at("cases").as_array()) {
    LabelledCase c;
    const std::string where = join_text(about.file, ": case ", cases.size() + 1);
    check<DataError>(entry.is_object() && entry.contains("name") && entry.contains("image"), where, " needs a name and an image");
    c.name = entry.at("name").as_string();
    const auto file = [&](const char* key, fs::path& to, std::string& array) {
      const std::string name = entry.get(key, "");
      if (name.empty()) return;
      to = folder / name;
      check<DataError>(fs::is_regular_file(to), where, " ('", c.name, "'): file ", to.string(), " does not exist");
      if (is_mat(to)) array = key == std::string("image") ? "input" : key;
    };
    file("image", c.image, c.image_entry);
    file("labels", c.labels, c.labels_entry);
    file("target", c.target, c.target_entry);
    c.split = entry.get("split", "");
    c.series = entry.get("series", "");
    c.frame = entry.get("frame", -1);
    c.spacing_um = entry.contains("spacing_um") ? spacing_in(entry, where) : about.spacing;
    cases.push_back(std::move(c));
  }
  return cases;
}

std::vector<LabelledCase> found(const fs::path& path, bool need_truth) {
  std::vector<LabelledCase> cases;
  if (fs::is_directory(path / "imagesTr")) {
    add_pairs(path / "imagesTr", path / "labelsTr", path / "targetsTr", "train", need_truth, cases);
    if (fs::is_directory(path / "imagesTs") && (fs::is_directory(path / "labelsTs") || !need_truth))
      add_pairs(path / "imagesTs", path / "labelsTs", path / "targetsTs", "test", need_truth, cases);
    return cases;
  }
  for (const auto& [folder, split] : std::initializer_list<std::pair<const char*, const char*>>{{"train", "train"},
                                                                                                {"train_", "train"},
                                                                                                {"valid", "valid"},
                                                                                                {"valid_", "valid"},
                                                                                                {"val", "valid"},
                                                                                                {"test", "test"},
                                                                                                {"test_", "test"}}) {
    if (!fs::is_directory(path / folder)) continue;
    const std::size_t before = cases.size();
    if (!add_folder(path / folder, split, need_truth, cases)) continue;
    for (std::size_t i = before; i < cases.size(); ++i) cases[i].name = std::string(folder) + "/" + cases[i].name;
  }
  if (cases.empty()) add_folder(path, "", need_truth, cases);
  return cases;
}

/// 0 ... the largest label of all cases.
std::vector<std::string> count_classes(const std::vector<LabelledCase>& cases) {
  std::int64_t largest = 0;
  for (const auto& c : cases) {
    if (c.labels.empty()) continue;
    const Tensor labels = whole_labels(load_volume(c.labels, {.entry = c.labels_entry}).image, c.labels.string());
    for (const auto& [label, voxels] : count_labels({.image = {}, .labels = labels})) largest = std::max(largest, label);
  }
  check<DataError>(largest <= 255, "dataset: labels up to ", largest,
                   " are no classes; for separate objects use the head 'instances'");
  std::vector<std::string> names = {"background"};
  for (std::int64_t k = 1; k <= largest; ++k) names.push_back(std::to_string(k));
  return names;
}

}  // namespace

LabelledDataset open_labelled_dataset(const fs::path& path, const LabelledOptions& given) {
  check<DataError>(fs::exists(path), path.string(), ": no such file or folder");
  LabelledOptions options = given;
  std::vector<LabelledCase> cases;
  About about;
  if (fs::is_directory(path)) {
    about = read_about(path);
    cases = about.json.is_object() && about.json.contains("cases") ? listed(path, about) : found(path, options.need_truth);
    check<DataError>(
        !cases.empty(), path.string(), ": no labelled volumes; looked for dataset.json with \"cases\", for the folders ",
        options.need_truth ? "images/ and labels/ (or targets/), for .mat files, and for these in train/, valid/, test/"
                           : "images/ and for volumes (" + volume_formats() + ")");
  } else {
    cases.push_back(case_of(path, path.filename().string(), "", options.need_truth));
  }
  if (options.class_names.empty()) options.class_names = about.class_names;
  if (!options.spacing_um && about.spacing[0] > 0) options.spacing_um = about.spacing;
  if (!options.head) options.head = about.head;
  const bool targets = std::all_of(cases.begin(), cases.end(), [](const LabelledCase& c) { return !c.target.empty(); });
  if (!options.head && targets && options.need_truth) options.head = Head::signed_distance;  // as the original's files
  check<DataError>(options.head || !options.need_truth, path.string(),
                   ": it does not say what its labels are: classes, separate objects (instances), or the two cells of a signed "
                   "distance; give --head classes | instances | signed");
  const Head head = options.head.value_or(Head::signed_distance);
  if (head == Head::classes && options.class_names.empty() && options.need_truth) options.class_names = count_classes(cases);
  if (head == Head::instances) options.class_names.clear();
  return LabelledDataset(std::move(cases), head, std::move(options));
}

}  // namespace cuboid
