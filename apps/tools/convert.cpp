// SPDX-License-Identifier: Apache-2.0
#include "data/convert.h"

#include <iostream>

#include "apps/commands.h"

namespace cuboid::app {

int convert(const Arguments& arguments) {
  std::vector<std::string> files;
  LoadOptions load;
  std::string dtype;
  bool overwrite = false;
  std::int64_t frame = -1;
  Common common;
  Options options("convert", "Reads a volume and writes it in the format of the other name's ending.");
  options.other_commands(command_names());
  options.example("cuboid convert cell.TCF cell.npy", "from a Tomocube file");
  options.example("cuboid convert scan.nii.gz scan.npy --dtype f32", "from NIfTI; npy keeps no voxel size");
  options.example("cuboid convert cell.npy cell.png", "its middle slice as a picture");
  options.positional("files", &files, "from and to: .npy .npz .nii .nii.gz .mat .safetensors .tif .tcf .png").required();
  options.add("--dtype", &dtype, "convert the values").choices({"", "f32", "f64", "f16", "bf16", "i64", "i32", "u8"});
  options.add("--entry", &load.entry, "which array of an npz, mat or safetensors file");
  options
      .add("--frame", &frame,
           "which time point of a series, counted from 0 (default: a NIfTI file's all, the first of a TCF file)")
      .at_least(-1)
      .at_most(1'000'000);
  options.add("--overwrite", &overwrite, "replace a file that is there").not_saved();
  common.add(options);
  if (!parse_or_help(options, arguments)) return success;
  check<UsageError>(files.size() == 2, "convert: needs two file names, got ", files.size());
  for (int i = 0; i <= static_cast<int>(DType::u8); ++i)
    if (dtype == name_of(static_cast<DType>(i))) load.dtype = static_cast<DType>(i);
  if (frame >= 0) load.frame = frame;
  if (common.dry_run) {
    std::cout << options.origin_table() << load_volume(files[0], load).image.shape() << '\n';
    return success;
  }
  check(overwrite || !std::filesystem::exists(files[1]), with_hint(files[1] + ": exists already", "--overwrite replaces it"));
  cuboid::convert(files[0], files[1], load, overwrite);
  return success;
}

}  // namespace cuboid::app
