// SPDX-License-Identifier: Apache-2.0
#include "data/labelled.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "core/parallel.h"
#include "data/fingerprint.h"
#include "data/labelled_read.h"

namespace cuboid {

const char* name_of(Head head) { return head_names[static_cast<std::size_t>(head)].c_str(); }

Head head_of(const std::string& name) {
  const auto at = std::find(head_names.begin(), head_names.end(), name);
  check<DataError>(at != head_names.end(), "head '", name, "' is not one of signed, instances, classes");
  return static_cast<Head>(at - head_names.begin());
}

struct LabelledDataset::State {
  std::vector<LabelledCase> cases;
  Head head{};
  LabelledOptions options;
  Spacing spacing{};

  struct Slot {
    std::mutex loading;  // whoever holds it reads; the others wait and find it in the cache
    LabelledVolume volume;
    Shape shape;  // D,H,W; empty: not loaded yet
  };
  mutable std::vector<Slot> slots;
  mutable std::mutex guard;  // of all below and of the slots' contents
  mutable std::int64_t cached_bytes = 0;
  mutable std::int64_t channels = 0;
  mutable std::string fingerprint;

  /// Keeps it where there is room. All images have the channels of the first one loaded.
  void keep(Slot& slot, const std::string& name, const LabelledVolume& v) const {
    const std::scoped_lock lock(guard);
    if (channels == 0) channels = v.image.dim(0);
    check<DataError>(v.image.dim(0) == channels, name, ": the image has ", v.image.dim(0), " channels, other cases have ",
                     channels);
    slot.shape = {v.image.dim(1), v.image.dim(2), v.image.dim(3)};
    std::int64_t bytes = 0;
    for (const Tensor* t : {&v.image, &v.labels, &v.target}) bytes += t->defined() ? t->view().bytes() : 0;
    if (cached_bytes + bytes > options.cache_bytes) return;
    slot.volume = v;
    cached_bytes += bytes;
  }
};

LabelledDataset::LabelledDataset(std::vector<LabelledCase> cases, Head head, LabelledOptions options)
    : state_(std::make_shared<State>()) {
  check<DataError>(!cases.empty(), "dataset: no cases");
  std::set<std::string> names;
  for (const auto& c : cases) {
    check<DataError>(names.insert(c.name).second, "dataset: two cases are called '", c.name, "'");
    check<DataError>(!options.need_truth || c.has_truth(), c.name, ": has neither labels nor a target");
    check<DataError>(!options.need_truth || head != Head::classes || !c.labels.empty(), c.name,
                     ": the head 'classes' needs labels, the case has a target only");
    check<DataError>(c.split.empty() || c.split == "train" || c.split == "valid" || c.split == "test", c.name, ": split '",
                     c.split, "' is not one of train, valid, test");
    for (const double s : c.spacing_um) check<DataError>(s >= 0 && s < 1e9, c.name, ": a spacing of ", s, " um");
  }
  if (options.class_names.empty()) {
    options.class_names = {"background"};
    if (head == Head::instances) options.class_names.push_back("object");
    if (head == Head::signed_distance) options.class_names.insert(options.class_names.end(), {"1", "2"});
  }
  const auto count = options.class_names.size();
  check<DataError>(head != Head::signed_distance || count == 3, "dataset: the head 'signed' has background and two classes, got ",
                   count, " names");
  check<DataError>(head != Head::classes || !options.need_truth || count >= 2, "dataset: one class only");
  check<DataError>(count <= 65536, "dataset: ", count, " classes");
  state_->slots = std::vector<State::Slot>(cases.size());
  state_->head = head;
  state_->spacing = options.spacing_um.value_or(Spacing{});
  state_->cases = std::move(cases);
  state_->options = std::move(options);
}

std::int64_t LabelledDataset::size() const { return state_ ? static_cast<std::int64_t>(state_->cases.size()) : 0; }
const LabelledCase& LabelledDataset::operator[](std::int64_t i) const {
  check(i >= 0 && i < size(), "dataset: case ", i, " of ", size());
  return state_->cases[static_cast<std::size_t>(i)];
}
const std::vector<LabelledCase>& LabelledDataset::cases() const { return state_->cases; }
Head LabelledDataset::head() const { return state_->head; }
std::int64_t LabelledDataset::outputs() const {
  return head() == Head::classes ? static_cast<std::int64_t>(class_names().size()) : 1;
}
const std::vector<std::string>& LabelledDataset::class_names() const { return state_->options.class_names; }
const LabelledOptions& LabelledDataset::options() const { return state_->options; }

Spacing LabelledDataset::spacing_um() const {
  if (state_->spacing[0] > 0) return state_->spacing;
  for (const auto& c : cases())
    if (c.spacing_um[0] > 0) return c.spacing_um;
  const LabelledVolume first = load(0);
  return first.spacing_known ? first.spacing_um : Spacing{};
}

std::int64_t LabelledDataset::channels() const {
  if (const std::scoped_lock lock(state_->guard); state_->channels > 0) return state_->channels;
  return load(0).image.dim(0);
}

std::vector<std::int64_t> LabelledDataset::part(const std::string& split) const {
  const bool said = std::any_of(cases().begin(), cases().end(), [](const LabelledCase& c) { return !c.split.empty(); });
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < size(); ++i) {
    const std::string& s = (*this)[i].split;
    if (said ? s == split : split == "train") indices.push_back(i);
  }
  return indices;
}

LabelledVolume LabelledDataset::load(std::int64_t i) const {
  const LabelledCase& c = (*this)[i];
  State::Slot& slot = state_->slots[static_cast<std::size_t>(i)];
  const std::scoped_lock mine(slot.loading);
  {
    const std::scoped_lock lock(state_->guard);
    if (slot.volume.image.defined()) return slot.volume;
  }
  const LabelledVolume v = read_case(c, state_->head, state_->options);
  state_->keep(slot, c.name, v);
  return v;
}

Shape LabelledDataset::shape(std::int64_t i) const {
  const State::Slot& slot = state_->slots[static_cast<std::size_t>(i)];
  {
    const std::scoped_lock lock(state_->guard);
    if (slot.shape.rank() == 3) return slot.shape;
  }
  const Tensor image = load(i).image;
  return {image.dim(1), image.dim(2), image.dim(3)};
}

void LabelledDataset::verify(std::vector<std::string>* warnings) const {
  constexpr std::size_t most = 20;
  const auto n = static_cast<std::size_t>(size());
  std::vector<std::string> wrong, odd(n);
  std::vector<std::vector<std::int64_t>> labelled(n);            // voxels per class
  for (std::size_t i = 0; i < n && wrong.size() <= most; ++i) {  // one after the other: reading is parallel inside, and large
    const LabelledCase& c = cases()[i];
    try {
      const LabelledVolume v = load(static_cast<std::int64_t>(i));
      labelled[i] = voxels_by_class(v, head());
      if (c.has_truth() && std::all_of(labelled[i].begin() + 1, labelled[i].end(), [](auto count) { return count == 0; }))
        odd[i] = c.name + ": nothing is labelled";
      else if (!v.spacing_known) odd[i] = c.name + ": its voxel size is unknown, 1 x 1 x 1 um is assumed";
    } catch (const DataError& error) {
      wrong.push_back(error.what());
    }
  }
  if (wrong.size() == 1) fail<DataError>(wrong[0]);
  if (!wrong.empty()) {
    std::string text = join_text(wrong.size() > most ? "more than " : "", std::min(wrong.size(), most), " cases are wrong:");
    for (std::size_t i = 0; i < std::min(wrong.size(), most); ++i) text += "\n  " + wrong[i];
    fail<DataError>(text);
  }
  const bool truth = std::any_of(cases().begin(), cases().end(), [](const LabelledCase& c) { return c.has_truth(); });
  const bool any = std::any_of(labelled.begin(), labelled.end(), [](const auto& counts) {
    return std::any_of(counts.begin() + 1, counts.end(), [](std::int64_t voxels) { return voxels > 0; });
  });
  check<DataError>(any || !truth, "dataset: nothing is labelled in any case; all masks are empty");
  if (!warnings) return;
  for (auto& text : odd)
    if (!text.empty()) warnings->push_back(std::move(text));
  std::vector<std::int64_t> voxels(class_names().size());
  for (const auto& counts : labelled)
    for (std::size_t k = 0; k < std::min(counts.size(), voxels.size()); ++k) voxels[k] += counts[k];
  if (std::string text = missing_classes(class_names(), voxels); !text.empty()) warnings->push_back(std::move(text));
}

std::string LabelledDataset::fingerprint() const {
  const std::scoped_lock lock(state_->guard);
  if (!state_->fingerprint.empty()) return state_->fingerprint;
  Fingerprint print;
  print.add(name_of(state_->head));
  print.add(state_->options.normalise.text());
  for (const auto& name : state_->options.class_names) print.add(name);
  for (const auto& c : state_->cases) {
    for (const auto& text : {c.name, c.split, c.series}) print.add(text);
    print.add(c.frame);
    for (const double s : c.spacing_um) print.add(join_text(s));
    for (const auto& file : {c.image, c.labels, c.target}) print.add_size(file);
  }
  return state_->fingerprint = print.text();
}

std::int64_t LabelledDataset::cached_bytes() const {
  const std::scoped_lock lock(state_->guard);
  return state_->cached_bytes;
}

}  // namespace cuboid
