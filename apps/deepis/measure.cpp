// SPDX-License-Identifier: Apache-2.0
// cuboid deepis measure
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>

#include "apps/commands.h"
#include "apps/deepis/label_files.h"
#include "apps/deepis/measure_report.h"
#include "apps/deepis/postprocess.h"
#include "apps/progress.h"
#include "apps/run_folder.h"
#include "apps/text.h"
#include "data/morphology/components.h"
#include "data/normalise.h"
#include "data/volume.h"

namespace cuboid::deepis {
namespace fs = std::filesystem;
namespace {

struct Settings {
  std::vector<std::string> inputs, classes = {"cart19", "k562"};
  std::string images, output = "measured", head = "signed";
  bool instances = false, overwrite = false;
  double spacing_z = 0, spacing_xy = 0, interval = 0, ri_low = 0, ri_high = 0, threshold = -1;
  MeasureOptions measure;
};

/// One volume to measure, before it is read.
struct Frame {
  VolumeFile file;
  std::string series;
  std::int64_t frame = 0;
  fs::path image;
};

std::vector<Frame> find_frames(const Settings& settings) {
  std::map<std::string, fs::path> images;
  if (!settings.images.empty()) {
    fs::path folder = settings.images;
    std::error_code error;
    if (fs::is_directory(folder / "images", error)) folder /= "images";
    for (const VolumeFile& f : volume_files(folder)) images[f.name] = f.path;
  }
  const bool one_to_one = images.size() == 1 && !fs::is_directory(settings.images);
  std::vector<Frame> frames;
  for (const std::string& input : settings.inputs)
    for (const VolumeFile& file : volume_files(input)) {
      Frame frame{.file = file};
      const auto slash = file.name.rfind('/');
      if (slash != file.name.npos) frame.series = file.name.substr(0, slash);
      frame.frame = std::count_if(frames.begin(), frames.end(), [&](const Frame& f) { return f.series == frame.series; });
      if (!images.empty()) {
        const auto found = one_to_one ? images.begin() : images.find(file.name);
        check<DataError>(found != images.end(),
                         app::with_hint(settings.images + ": no image is called '" + file.name + "'",
                                        "images and labels are paired by their names, without formats: cell_3.npy and "
                                        "cell_3.labels.nii.gz"));
        frame.image = found->second;
      }
      frames.push_back(frame);
    }
  check<app::UsageError>(!one_to_one || frames.size() == 1, "--images: one image for ", frames.size(), " label volumes");
  return frames;
}

Tensor single_channel(const Tensor& x, const std::string& name) {
  if (x.rank() == 3) return x;
  check<DataError>(x.dim(0) == 1, name, ": ", x.dim(0), " channels, expected one");
  return Tensor(x.storage(), x.offset(), {x.dim(1), x.dim(2), x.dim(3)}, {x.strides()[1], x.strides()[2], x.strides()[3]},
                x.dtype());
}

Spacing spacing_of(const Volume& v) {
  if (!v.spacing_known) return {};
  const double unit = v.unit == "mm" ? 1000 : 1;
  return {unit * v.spacing[0], unit * v.spacing[1], unit * v.spacing[2]};
}

class Measurer {
 public:
  explicit Measurer(const Settings& settings) : s_(settings) {}
  std::vector<std::string> notes;

  MeasuredFrame operator()(const Frame& frame) {
    MeasuredFrame out{.name = frame.file.name, .series = frame.series, .file = frame.file.path.string(), .frame = frame.frame};
    if (s_.interval > 0) out.minutes = s_.interval * static_cast<double>(frame.frame);
    Tensor image;
    Spacing spacing{};
    if (!frame.image.empty()) {
      const Volume v = load_volume(frame.image);
      image = single_channel(v.image, frame.image.string());
      check_finite(image, frame.image.string());
      spacing = spacing_of(v);
    }
    const Tensor labels = read(frame, spacing);
    check<DataError>(!image.defined() || image.shape() == labels.shape(), frame.file.path.string(), ": labels of shape ",
                     labels.shape(), ", but ", frame.image.string(), ": image of shape ",
                     image.defined() ? image.shape() : Shape{});
    out.spacing_um = spacing;
    const auto scale = scale_of(image, frame);
    const auto present = labels_present(labels);
    if (!decided_) pair_ = !s_.instances && (present.empty() || present.back() <= 2), decided_ = true;
    check<DataError>(!pair_ || present.empty() || present.back() <= 2,
                     app::with_hint(frame.file.path.string() + ": label " + std::to_string(present.empty() ? 0 : present.back()) +
                                        ", where frames before it had 1 and 2",
                                    "--instances measures every label on its own"));
    std::vector<std::int32_t> of = {1, 2};
    if (!pair_) of = present;
    for (const std::int32_t label : of)
      out.cell_names.push_back(pair_ && static_cast<std::size_t>(label) <= s_.classes.size()
                                   ? s_.classes[static_cast<std::size_t>(label - 1)]
                                   : std::to_string(label));
    const auto pair = pair_ ? std::optional(std::array<std::int32_t, 2>{1, 2}) : std::nullopt;
    out.measured = measure(labels, image, scale, spacing, of, pair, s_.measure);
    if (present.empty()) note(frame.file.path.string() + ": nothing is labelled");
    return out;
  }

 private:
  /// Labels as they are, or made of a distance map; the spacing is filled in.
  Tensor read(const Frame& frame, Spacing& spacing) {
    const std::string name = frame.file.path.string();
    const bool distance = frame.file.path.filename().string().find(".distance.") != std::string::npos;
    Tensor found;
    Spacing own{};
    if (distance) {
      const Volume v = load_volume(frame.file.path, {.dtype = DType::f32});
      found = single_channel(v.image, name);
      check_finite(found, name);
      own = spacing_of(v);
    } else {
      const LabelVolume v = load_labels(frame.file.path);
      found = v.labels, own = v.spacing_um;
    }
    spacing = common_spacing(own, name, spacing, frame.image.string());
    if (spacing[0] <= 0) spacing = spacing_beside(frame.file.path);
    if (spacing[0] <= 0 && !frame.image.empty()) spacing = spacing_beside(frame.image);
    if (s_.spacing_z > 0) spacing = {s_.spacing_z, s_.spacing_xy, s_.spacing_xy};
    if (spacing[0] <= 0) {
      spacing = {1, 1, 1};
      note("No file says how large a voxel is: it counts as 1 um, so volumes are in voxels (--spacing-z, --spacing-xy).");
    }
    if (!distance) return found;
    const PostprocessOptions options{.threshold_um = s_.threshold};
    return s_.head == "signed" ? labels_of_signed(found, spacing, options) : labels_of_instances(found, spacing, options);
  }

  std::optional<RiScale> scale_of(const Tensor& image, const Frame& frame) {
    if (!image.defined()) return std::nullopt;
    if (s_.ri_high > 0) return ri_window(s_.ri_low, s_.ri_high);
    const auto scale = ri_scale_of(image);
    if (!scale)
      note(frame.image.string() +
           ": its values are no refractive indices, so there is neither mean RI nor dry mass (--ri-low 1.34 --ri-high 1.39 for "
           "8-bit "
           "images of this window).");
    return scale;
  }

  void note(const std::string& text) {
    if (std::find(notes.begin(), notes.end(), text) == notes.end() && notes.size() < 10) notes.push_back(text);
  }

  const Settings& s_;
  bool decided_ = false, pair_ = false;
};

}  // namespace

int measure_command(const Arguments& arguments) {
  Settings s;
  app::Common common;
  app::Options options(
      "deepis measure",
      "From labels (and tomograms) to volume, surface, mean refractive index and dry mass of each cell, and to the area "
      "of the synapse between two.");
  options.other_commands(app::command_names());
  options.example("cuboid deepis measure predicted/ --images tomograms/ -o measured/", "a table, csv, json and plots over time");
  options.example("cuboid deepis measure nuclei.labels.nii.gz --instances", "a line per instance");
  options.positional("inputs", &s.inputs, "label volumes, distance maps, or folders of them; a folder is a time-lapse")
      .required();
  options.add("-o,--output", &s.output, "folder for cells.csv, synapses.csv, measure.json, plots and measure.html");
  options.add("--overwrite", &s.overwrite, "write into a folder that holds something").not_saved();
  options.add("--images", &s.images, "tomograms of the same names: for refractive index and dry mass");
  options.add("--classes", &s.classes, "names of labels 1 and 2");
  options.add("--instances", &s.instances, "every label is a cell of its own; no synapse");
  options.section("geometry");
  options.add("--spacing-z", &s.spacing_z, "um per voxel, instead of what the files say").at_least(0);
  options.add("--spacing-xy", &s.spacing_xy, "um per voxel").at_least(0);
  options.add("--dilate", &s.measure.dilate_um,
              "um around each cell whose overlap are the synapse's voxels; negative: the largest spacing");
  options.add("--cleft", &s.measure.cleft_um, "um, widest cleft that counts as contact; negative: 1.5 voxels");
  options.add("--head", &s.head, "what distance maps mean").choices({"signed", "instances"});
  options.add("--threshold", &s.threshold, "um; of distance maps; negative: half the smallest spacing");
  options.section("physics");
  options.add("--medium-ri", &s.measure.medium_ri, "refractive index around the cells").at_least(1).at_most(2);
  options.add("--increment", &s.measure.increment, "of the refractive index with concentration, mL/g").at_least(0.01).at_most(1);
  options.add("--ri-low", &s.ri_low, "refractive index that 8-bit images show as 0").at_least(0).at_most(2);
  options.add("--ri-high", &s.ri_high, "and as 255").at_least(0).at_most(2);
  options.add("--interval", &s.interval, "minutes between frames").at_least(0);
  common.add(options);
  if (!app::parse_or_help(options, arguments)) return app::success;
  common.apply();
  check<app::UsageError>((s.spacing_z > 0) == (s.spacing_xy > 0), "measure: --spacing-z and --spacing-xy belong together");
  check<app::UsageError>(s.ri_high == 0 || s.ri_high > s.ri_low, "measure: --ri-high ", s.ri_high, " is not above --ri-low ",
                         s.ri_low);
  const std::vector<Frame> frames = find_frames(s);
  if (common.dry_run) {
    std::cout << options.origin_table();
    for (const Frame& f : frames)
      std::cout << f.file.path.string() << (f.image.empty() ? "" : "  with  " + f.image.string()) << '\n';
    return app::success;
  }
  const app::RunFolder folder = app::RunFolder::at(s.output, s.overwrite);
  app::Progress progress("frames", common.quiet ? app::Progress::Mode::quiet : app::Progress::Mode::automatic);
  progress.begin("measure", static_cast<std::int64_t>(frames.size()));
  Measurer measurer(s);
  std::vector<MeasuredFrame> measured;
  for (const Frame& frame : frames) {
    measured.push_back(measurer(frame));
    progress.update(static_cast<std::int64_t>(measured.size()), frame.file.name);
  }
  for (const std::string& note : measurer.notes) progress.say("note: " + note);
  const auto files = write_measures(folder.path(), measured, s.measure, measurer.notes);
  if (common.json) std::cout << measure_json(measured, s.measure).dump(2) << '\n';
  else
    std::cout << measure_text(measured) << "\nwritten            " << s.output << ": " << [&] {
      std::vector<std::string> names;
      for (const auto& f : files) names.push_back(f.filename().string());
      return app::join(names, ", ");
    }() << '\n';
  return app::success;
}

}  // namespace cuboid::deepis
