// SPDX-License-Identifier: Apache-2.0
// Which files are a case, and which part it belongs to.
#include <algorithm>
#include <charconv>

#include "apps/app.h"
#include "apps/deepis/prepare.h"
#include "apps/text.h"
#include "core/random.h"
#include "data/dataset.h"
#include "data/volume.h"

namespace cuboid::deepis {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t part_stream = 0x7061727473;  // "parts"

std::int64_t number(const std::string& text, const std::string& option, const std::string& whole) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check<app::UsageError>(error == std::errc() && end == text.data() + text.size() && value >= 0, option, ": '", text, "' in '",
                         whole, "' is no whole number from 0");
  return value;
}

/// "4:8", either side may be left out.
std::array<std::int64_t, 2> range(const std::string& text, const std::string& option, const std::string& whole) {
  const auto sides = app::split(text, ':');
  check<app::UsageError>(sides.size() == 2, option, ": '", text, "' is no range; write FIRST:END, as in 4:28");
  std::array<std::int64_t, 2> r = {sides[0].empty() ? 0 : number(sides[0], option, whole),
                                   sides[1].empty() ? -1 : number(sides[1], option, whole)};
  check<app::UsageError>(r[1] < 0 || r[0] < r[1], option, ": nothing lies in ", text);
  return r;
}

/// "a/*_raw.npy" -> what the star stands for, for each file of that form; a file's own name where there is no star.
std::map<std::string, fs::path> matching(const fs::path& folder, const std::string& pattern, const char* option) {
  std::map<std::string, fs::path> found;
  const auto star = pattern.find('*');
  if (star == pattern.npos) {
    check<DataError>(fs::is_regular_file(folder / pattern), option, ": no file ", (folder / pattern).string());
    found.emplace(volume_name(pattern), folder / pattern);
    return found;
  }
  check<app::UsageError>(pattern.find('*', star + 1) == pattern.npos, option, ": one star only in '", pattern, "'");
  const std::string before = pattern.substr(0, star), after = pattern.substr(star + 1);
  for (const auto& name : list_volumes(folder))
    if (name.size() > before.size() + after.size() && name.starts_with(before) && name.ends_with(after))
      found.emplace(name.substr(before.size(), name.size() - before.size() - after.size()), folder / name);
  check<DataError>(!found.empty(), option, ": no file of the form ", (folder / pattern).string());
  return found;
}

/// What the labels or targets of these names are. A single image and a single mask need no common name: what theirs begin with is
/// the case's.
void pair_up(std::vector<LabelledCase>& cases, const std::map<std::string, fs::path>& masks, fs::path LabelledCase::*member,
             const char* option) {
  if (cases.size() == 1 && masks.size() == 1) {
    LabelledCase& c = cases[0];
    c.*member = masks.begin()->second;
    const std::string& name = masks.begin()->first;
    std::size_t common = 0;
    while (common < std::min(c.name.size(), name.size()) && c.name[common] == name[common]) ++common;
    common = c.name.substr(0, common).find_last_not_of("_-./") + 1;  // npos + 1 = 0
    if (common > 0) c.name.resize(common);
    return;
  }
  for (auto& c : cases) {
    const auto at = masks.find(c.name);
    check<DataError>(at != masks.end(), option, ": none for ", c.image.string(), " (case '", c.name, "')");
    c.*member = at->second;
  }
  for (const auto& [name, file] : masks)
    check<DataError>(std::any_of(cases.begin(), cases.end(), [&, &name = name](const auto& c) { return c.name == name; }),
                     "--images: none for ", file.string(), " (case '", name, "')");
}

void name_parts(std::vector<LabelledCase>& cases, const std::vector<std::string>& names, const std::string& split) {
  std::vector<std::string> known;
  for (const auto& c : cases) known.push_back(c.name);
  for (const auto& name : names) {
    const auto at = std::find(known.begin(), known.end(), name);
    check<DataError>(at != known.end(), "--", split, ": no case '", name, "'", app::did_you_mean(name, known), " (there are: ",
                     app::join({known.begin(), known.begin() + std::min<std::ptrdiff_t>(10, std::ssize(known))}, ", "),
                     known.size() > 10 ? ", ..." : "", ")");
    cases[static_cast<std::size_t>(at - known.begin())].split = split;
  }
}

/// Draws parts for the cases that have none; the frames of a series stay together.
void draw_parts(std::vector<LabelledCase>& cases, const PrepareOptions& o) {
  std::vector<std::string> groups;
  const auto group_of = [](const LabelledCase& c) { return c.series.empty() ? "case " + c.name : "series " + c.series; };
  for (const auto& c : cases)
    if (c.split.empty()) groups.push_back(group_of(c));
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  Random(RandomKey{.seed = o.seed, .stream = part_stream}).shuffle(groups);
  const auto count = [&](double share) {
    return share > 0 ? std::max<std::size_t>(1, static_cast<std::size_t>(share * static_cast<double>(groups.size()) + 0.5)) : 0;
  };
  const std::size_t test = count(o.test_share), valid = count(o.valid_share);
  check<DataError>(test + valid < groups.size() || groups.empty(), "prepare: ", groups.size(),
                   " cases or series are too few for ", test, " of test, ", valid, " of validation, and any of training");
  for (auto& c : cases) {
    if (!c.split.empty()) continue;
    const auto at = static_cast<std::size_t>(std::find(groups.begin(), groups.end(), group_of(c)) - groups.begin());
    c.split = at < test ? "test" : at < test + valid ? "valid" : "train";
  }
}

}  // namespace

std::vector<SliceRange> slice_ranges(const std::string& text) {
  const std::string option = "--split-z";
  if (text.empty()) return {};
  if (text.find('=') == text.npos) {
    const auto gap = app::split(text, ':');
    check<app::UsageError>(gap.size() == 2, option, ": '", text, "' is neither A:B nor train=0:A,test=B:C");
    const std::int64_t a = number(gap[0], option, text), b = number(gap[1], option, text);
    check<app::UsageError>(a > 0 && a <= b, option, ": '", text,
                           "': slices before the first number are train, those from the "
                           "second on are test");
    return {{"train", 0, a}, {"test", b, -1}};
  }
  std::vector<SliceRange> ranges;
  for (const auto& part : app::split(text, ',')) {
    const auto sides = app::split(part, '=');
    check<app::UsageError>(sides.size() == 2 && (sides[0] == "train" || sides[0] == "valid" || sides[0] == "test"), option, ": '",
                           part, "' is not of the form train=0:20 (or valid, test)");
    const auto r = range(sides[1], option, text);
    for (const auto& other : ranges)
      check<app::UsageError>(
          other.split == sides[0] || (other.end >= 0 && other.end <= r[0]) || (r[1] >= 0 && r[1] <= other.first), option, ": ",
          other.split, " and ", sides[0], " share slices");
    ranges.push_back({sides[0], r[0], r[1]});
  }
  return ranges;
}

std::array<std::array<std::int64_t, 2>, 3> crop_box(const std::string& text) {
  const auto sides = app::split(text, ',');
  check<app::UsageError>(sides.size() == 3, "--crop: '", text, "' is not of the form z0:z1,y0:y1,x0:x1");
  std::array<std::array<std::int64_t, 2>, 3> box{};
  for (std::size_t a = 0; a < 3; ++a) box[a] = range(sides[a], "--crop", text);
  return box;
}

std::vector<LabelledCase> raw_cases(const PrepareOptions& o) {
  std::vector<LabelledCase> cases;
  if (o.images.empty()) {
    check<app::UsageError>(o.labels.empty() && o.targets.empty(), "--labels and --targets need --images");
    LabelledOptions any{.head = o.head.value_or(Head::instances)};  // labels are looked at later
    cases = open_labelled_dataset(o.input, any).cases();
  } else {
    check<app::UsageError>(!o.labels.empty() || !o.targets.empty(), "--images needs --labels or --targets");
    check<DataError>(fs::is_directory(o.input), o.input.string(), ": no such folder");
    for (const auto& [name, file] : matching(o.input, o.images, "--images")) cases.push_back({.name = name, .image = file});
    if (!o.labels.empty()) pair_up(cases, matching(o.input, o.labels, "--labels"), &LabelledCase::labels, "--labels");
    if (!o.targets.empty()) pair_up(cases, matching(o.input, o.targets, "--targets"), &LabelledCase::target, "--targets");
  }
  for (auto& c : cases) {
    if (o.time_lapse && c.series.empty()) {
      const auto digits = c.name.find_last_not_of("0123456789") + 1;  // npos + 1 = 0
      check<DataError>(digits < c.name.size() && c.name.size() - digits < 10, "--time-lapse: the name '", c.name,
                       "' does not end in the number of a frame");
      c.frame = std::stoll(c.name.substr(digits));
      c.series = c.name.substr(0, digits);
      while (!c.series.empty() && (c.series.back() == '_' || c.series.back() == '-' || c.series.back() == '/'))
        c.series.pop_back();
      if (c.series.empty()) c.series = "series";
    }
  }
  name_parts(cases, o.test, "test");
  name_parts(cases, o.valid, "valid");
  if (o.test_share > 0 || o.valid_share > 0) draw_parts(cases, o);
  return cases;
}

}  // namespace cuboid::deepis
