// SPDX-License-Identifier: Apache-2.0
// What was measured, as text while it is measured and as JSON in Google Benchmark's form afterwards, and the machine's roofs that
// everything is a fraction of: the fastest matrix product and the fastest copy that this program could make, in this run.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/device/meter.h"
#include "core/json.h"

namespace bench {

/// What the work takes at least: multiplications and additions of the definition without those on padding; each operand read
/// once and each result written once.
struct Cost {
  double flops = 0, bytes = 0;
};

struct Roofs {
  std::map<DType, double> flops;  // per second, of products of this type
  double bytes = 0;               // per second, read and written
  /// Microseconds below which no implementation comes.
  double floor(const Cost& cost, DType dtype) const;
};

class Report {
 public:
  Report(const MeterOptions& options, std::string command);

  /// Names read op/row/dtype/shape. A row further than `limit` from the first one is wrong; 0: as the type allows.
  void add(const std::string& op, const std::string& shape, DType dtype, const Cost& cost, const std::vector<Timing>& timings,
           double limit = 0);
  /// A paragraph of text, and under this key in the JSON.
  void note(const std::string& key, const std::string& text, Json value);
  void set_roofs(const Roofs& roofs);
  const Roofs& roofs() const { return roofs_; }
  /// FOLDER/NAME.json and .txt; nothing without a folder.
  void write(const std::string& folder, const std::string& name) const;
  const std::vector<std::string>& wrong() const { return wrong_; }

 private:
  void print(const std::string& text);
  Roofs roofs_;
  Json context_, benchmarks_ = Json::array();
  std::string text_;
  std::vector<std::string> wrong_;
};

/// Measures both roofs and tells the report.
void measure_roofs(const Meter& meter, Report& report, bool tiny);

}  // namespace bench
