// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/label_files.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "apps/app.h"
#include "apps/text.h"
#include "core/files.h"
#include "core/json.h"
#include "data/morphology/grid.h"
#include "data/volume.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

std::string without_format(std::string name) {
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* ending :
       {".npy.gz", ".nii.gz", ".npy", ".npz", ".nii", ".mat", ".safetensors", ".tiff", ".tif", ".tcf", ".h5", ".png"})
    if (lower.ends_with(ending)) return name.substr(0, name.size() - std::string_view(ending).size());
  return name;
}

/// "labels", "distance" or nothing.
std::string role_of(const fs::path& file) {
  const std::string name = without_format(file.filename().string());
  for (const char* role : {"labels", "distance"})
    if (name.ends_with(std::string(".") + role)) return role;
  return "";
}

}  // namespace

std::string case_name(const fs::path& file) {
  std::string name = without_format(file.filename().string());
  const std::string role = role_of(file);
  if (!role.empty()) name.resize(name.size() - role.size() - 1);
  return name;
}

std::vector<VolumeFile> volume_files(const fs::path& input) {
  std::error_code error;
  check<DataError>(fs::exists(input, error), input.string(), ": no such file or folder");
  if (!fs::is_directory(input, error)) return {{case_name(input), input}};
  std::vector<VolumeFile> all;
  for (fs::recursive_directory_iterator it(input, fs::directory_options::skip_permission_denied, error), end; !error && it != end;
       it.increment(error)) {
    if (!it->is_regular_file(error) || !looks_like_volume(it->path()) || it->path().filename().string().starts_with("."))
      continue;
    const fs::path folder = it->path().lexically_relative(input).parent_path();
    all.push_back(
        {(folder.empty() ? fs::path(case_name(it->path())) : folder / case_name(it->path())).generic_string(), it->path()});
  }
  check<DataError>(!error, input.string(), ": cannot be listed: ", error.message());
  for (const char* role : {"labels", "distance"}) {
    std::vector<VolumeFile> some;
    for (const VolumeFile& f : all)
      if (role_of(f.path) == role) some.push_back(f);
    if (some.empty()) continue;
    all = std::move(some);
    break;
  }
  check<DataError>(!all.empty(), app::with_hint(input.string() + ": no volumes there", "readable: " + volume_formats()));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return app::natural_less(a.name, b.name); });
  for (std::size_t i = 1; i < all.size(); ++i)
    check<DataError>(all[i - 1].name != all[i].name, input.string(), ": two volumes are called '", all[i].name,
                     "': ", all[i - 1].path.filename().string(), " and ", all[i].path.filename().string());
  return all;
}

LabelVolume load_labels(const fs::path& path) {
  const Volume volume = load_volume(path);
  Tensor x = volume.image;
  if (x.rank() == 4 && x.dim(0) == 1)
    x = Tensor(x.storage(), x.offset(), {x.dim(1), x.dim(2), x.dim(3)}, {x.strides()[1], x.strides()[2], x.strides()[3]},
               x.dtype());
  check<DataError>(x.rank() == 3, path.string(), ": labels of shape ", x.shape(), ", expected D,H,W");
  LabelVolume labels;
  try {
    const Tensor whole = morphology::as_labels(x, "labels");
    labels.labels = empty(whole.shape(), {.dtype = DType::i32});
    copy(whole, labels.labels);
  } catch (const Error& e) {
    fail<DataError>(path.string(), ": ", e.what());
  }
  const auto* v = labels.labels.data<std::int32_t>();
  for (std::int64_t i = 0; i < labels.labels.size(); ++i)
    check<DataError>(v[i] >= 0, path.string(), ": label ", v[i], "; labels are 0 (background) and above");
  if (volume.spacing_known) labels.spacing_um = spacing_um(volume);
  return labels;
}

Spacing spacing_beside(const fs::path& file) {
  const auto triple = [](const Json& of) {
    Spacing s{};
    const Json* list = of.find("spacing_um");
    if (!list || !list->is_array() || list->size() != 3) return s;
    for (std::size_t i = 0; i < 3; ++i) s[i] = (*list)[i].is_number() ? (*list)[i].as_double() : 0;
    return s[0] > 0 && s[1] > 0 && s[2] > 0 ? s : Spacing{};
  };
  const std::string name = case_name(file);
  for (const fs::path& folder : {file.parent_path(), file.parent_path().parent_path()})
    for (const char* record : {"predict.json", "dataset.json"}) {
      std::error_code error;
      if (!fs::is_regular_file(folder / record, error)) continue;
      const Json json = Json::parse(read_file(folder / record), (folder / record).string());
      if (!json.is_object()) continue;
      if (const Json* cases = json.find("cases"); cases && cases->is_array())
        for (const Json& c : cases->as_array())
          if (c.is_object() && case_name(c.get("name", "")) == name)
            if (const Spacing s = triple(c); s[0] > 0) return s;
      if (const Spacing s = triple(json); s[0] > 0) return s;
    }
  return {};
}

Spacing common_spacing(const Spacing& a, const std::string& a_name, const Spacing& b, const std::string& b_name) {
  if (a[0] <= 0) return b;
  if (b[0] <= 0) return a;
  for (std::size_t i = 0; i < 3; ++i)
    check<DataError>(std::abs(a[i] - b[i]) <= 1e-3 * std::max(a[i], b[i]), a_name, ": voxels of ", a[0], " x ", a[1], " x ", a[2],
                     " um, but ", b_name, ": ", b[0], " x ", b[1], " x ", b[2], " um (z,y,x)");
  return a;
}

}  // namespace cuboid::deepis
