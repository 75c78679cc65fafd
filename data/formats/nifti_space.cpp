// SPDX-License-Identifier: Apache-2.0
#include "data/formats/nifti_space.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace cuboid {
namespace {

using Affine = std::array<double, 16>;

double column_length(const Affine& a, std::size_t column) { return std::hypot(a[column], a[4 + column], a[8 + column]); }

double determinant(const Affine& a) {
  return a[0] * (a[5] * a[10] - a[6] * a[9]) - a[1] * (a[4] * a[10] - a[6] * a[8]) + a[2] * (a[4] * a[9] - a[5] * a[8]);
}

/// Every axis has a length, and the three do not lie in one plane.
bool usable(const Affine& a) {
  if (!std::all_of(a.begin(), a.end(), [](double v) { return std::isfinite(v); })) return false;
  const double lengths = column_length(a, 0) * column_length(a, 1) * column_length(a, 2);
  return std::isfinite(lengths) && lengths > 0 && std::abs(determinant(a)) > 1e-6 * lengths;
}

/// The largest angle between axes of the same name, in degrees.
double angle_between(const Affine& a, const Affine& b) {
  double widest = 0;
  for (std::size_t c = 0; c < 3; ++c) {
    double product = 0;
    for (std::size_t r = 0; r < 3; ++r) product += a[4 * r + c] * b[4 * r + c];
    const double cosine = std::clamp(product / column_length(a, c) / column_length(b, c), -1.0, 1.0);
    widest = std::max(widest, std::acos(cosine) * 180 / M_PI);
  }
  return widest;
}

Affine of_sizes(const NiftiSpace& s) { return {s.pixdim[1], 0, 0, 0, 0, s.pixdim[2], 0, 0, 0, 0, s.pixdim[3], 0, 0, 0, 0, 1}; }

Affine of_sform(const NiftiSpace& s) {
  Affine a = {};
  std::copy(s.srow.begin(), s.srow.end(), a.begin());
  a[15] = 1;
  return a;
}

/// Method 2 of nifti1.h. The smallest a^2 that rounding explains is -3 eps, as nibabel has it; empty beyond that.
std::optional<Affine> of_quaternion(const NiftiSpace& s, int version) {
  const double x = s.quaternion[0], y = s.quaternion[1], z = s.quaternion[2], rest = 1 - (x * x + y * y + z * z);
  const double slack =
      3 * (version == 1 ? double{std::numeric_limits<float>::epsilon()} : std::numeric_limits<double>::epsilon());
  if (!(rest >= -slack)) return {};
  const double w = rest > slack ? std::sqrt(rest) : 0, norm = w * w + x * x + y * y + z * z, t = 2 / norm;
  if (!std::isfinite(t)) return {};
  const double qfac = s.pixdim[0] == -1 ? -1 : 1;
  const double size[] = {s.pixdim[1], s.pixdim[2], s.pixdim[3] * qfac};
  const double turn[] = {1 - t * (y * y + z * z), t * (x * y - w * z),     t * (x * z + w * y),  //
                         t * (x * y + w * z),     1 - t * (x * x + z * z), t * (y * z - w * x),  //
                         t * (x * z - w * y),     t * (y * z + w * x),     1 - t * (x * x + y * y)};
  Affine a = {};
  for (std::size_t r = 0; r < 3; ++r) {
    for (std::size_t c = 0; c < 3; ++c) a[4 * r + c] = turn[3 * r + c] * size[c];
    a[4 * r + 3] = s.quaternion[3 + r];
  }
  a[15] = 1;
  return a;
}

const char* unit_of(double units) {
  const int space = static_cast<int>(units) & 7;
  return space == 1 ? "m" : space == 3 ? "um" : "mm";  // unknown: everybody takes mm
}

/// The shortest decimal number that is this float: 0.1 for 0.100000001490116.
double decimal(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, static_cast<float>(value)).ptr;
  double back = value;
  std::from_chars(text, end, back);
  return back;
}

/// Voxel sizes as people wrote them, where the affine's columns agree but for rounding; the affine stays what it is.
void take_sizes(Volume& v, const NiftiSpace& s, int version) {
  for (std::size_t a = 0; a < 3; ++a) {
    const double said = version == 1 ? decimal(s.pixdim[3 - a]) : s.pixdim[3 - a];
    if (!(std::abs(said - v.spacing[a]) <= 1e-5 * said)) continue;
    for (std::size_t c = 0; c < 3; ++c) v.direction[3 * a + c] *= v.spacing[a] / said;
    v.spacing[a] = said;
  }
}

}  // namespace

void place(NiftiHeader& header, const NiftiSpace& given, const std::string& name) {
  NiftiSpace s = given;
  Volume& v = header.about;
  bool sizes_given = false;
  for (std::size_t i = 1; i < 4; ++i) {
    if (s.pixdim[i] > 0 && std::isfinite(s.pixdim[i])) {
      sizes_given |= s.pixdim[i] != 1;
      continue;
    }
    const double taken = std::isfinite(s.pixdim[i]) && s.pixdim[i] < 0 ? -s.pixdim[i] : 1;
    if (i <= 2 || header.shape[-3] > 1)
      v.notes.push_back(join_text("pixdim[", i, "] is ", s.pixdim[i], "; ", taken, " is taken"));
    sizes_given |= taken != 1;
    s.pixdim[i] = taken;
  }
  v.unit = unit_of(s.units);
  header.qform_code = static_cast<int>(s.qform_code);
  header.sform_code = static_cast<int>(s.sform_code);
  const auto qform = s.qform_code > 0 ? of_quaternion(s, header.version) : std::nullopt;
  const bool sound_qform = qform && usable(*qform);
  if (s.sform_code > 0 && usable(of_sform(s))) {
    header.affine = of_sform(s);
    if (s.qform_code > 0 && !sound_qform) v.notes.push_back("the qform is no rotation; the sform is taken");
    if (sound_qform)
      if (const double angle = angle_between(header.affine, *qform); angle > 0.5)
        v.notes.push_back(join_text("qform and sform differ by ", std::round(angle * 10) / 10, " degrees; the sform is taken"));
  } else if (s.qform_code > 0) {
    check<DataError>(sound_qform, name, ": nifti: where the image lies is not known: quaternion (", s.quaternion[0], ", ",
                     s.quaternion[1], ", ", s.quaternion[2], ") is no rotation",
                     s.sform_code > 0 ? ", and the sform is singular" : "");
    if (s.sform_code > 0) v.notes.push_back("the sform is singular; the qform is taken");
    header.affine = *qform;
  } else {
    if (s.sform_code > 0) v.notes.push_back("the sform is singular; the voxel sizes alone are taken");
    header.affine = of_sizes(s);
    v.spacing = {s.pixdim[3], s.pixdim[2], s.pixdim[1]};
    take_sizes(v, s, header.version);
    v.direction = Volume().direction;
    v.spacing_known = sizes_given || (static_cast<int>(s.units) & 7) != 0;
    if (!v.spacing_known) v.unit = "um";
    return;
  }
  place_by_affine(v, header.affine);
  take_sizes(v, s, header.version);
}

void place_by_affine(Volume& v, const std::array<double, 16>& affine) {
  for (std::size_t a = 0; a < 3; ++a) {
    const std::size_t column = 2 - a;  // our axis 0 is z, the file's third
    v.spacing[a] = column_length(affine, column);
    for (std::size_t r = 0; r < 3; ++r) v.direction[3 * a + 2 - r] = affine[4 * r + column] / v.spacing[a];
    v.origin[a] = affine[4 * column + 3];
  }
  v.spacing_known = v.orientation_known = true;
}

std::array<double, 16> affine_of(const Volume& v) {
  Affine affine = {};
  for (std::size_t a = 0; a < 3; ++a) {
    for (std::size_t r = 0; r < 3; ++r) affine[4 * r + 2 - a] = v.direction[3 * a + 2 - r] * v.spacing[a];
    affine[4 * (2 - a) + 3] = v.origin[a];
  }
  affine[15] = 1;
  return affine;
}

std::optional<std::array<double, 4>> quaternion_of(const Volume& v) {
  // m[r][c]: component r (x,y,z) of the direction of the file's axis c.
  double m[3][3];
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t r = 0; r < 3; ++r) m[r][c] = v.direction[3 * (2 - c) + 2 - r];
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t d = c; d < 3; ++d) {
      const double product = m[0][c] * m[0][d] + m[1][c] * m[1][d] + m[2][c] * m[2][d];
      if (!(std::abs(product - (c == d ? 1 : 0)) < 1e-4)) return {};
    }
  const double det = m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
                     m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
  const double qfac = det < 0 ? -1 : 1;
  for (auto& row : m) row[2] *= qfac;
  // Shepperd 1978: divide by the largest of the four.
  const double trace = m[0][0] + m[1][1] + m[2][2];
  const double squares[] = {trace, m[0][0], m[1][1], m[2][2]};
  const auto largest = std::max_element(std::begin(squares), std::end(squares)) - std::begin(squares);
  double q[4];  // a, b, c, d
  if (largest == 0) {
    q[0] = std::sqrt(1 + trace) / 2;
    q[1] = (m[2][1] - m[1][2]) / (4 * q[0]);
    q[2] = (m[0][2] - m[2][0]) / (4 * q[0]);
    q[3] = (m[1][0] - m[0][1]) / (4 * q[0]);
  } else {
    const auto i = static_cast<std::size_t>(largest - 1), j = (i + 1) % 3, k = (i + 2) % 3;
    const double root = std::sqrt(std::max(0.0, 1 + m[i][i] - m[j][j] - m[k][k])) / 2;
    q[1 + i] = root;
    q[0] = (m[k][j] - m[j][k]) / (4 * root);
    q[1 + j] = (m[j][i] + m[i][j]) / (4 * root);
    q[1 + k] = (m[k][i] + m[i][k]) / (4 * root);
  }
  const double sign = q[0] < 0 ? -1 : 1;  // the file keeps no a: it is the positive one
  const double norm = std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]) * sign;
  return std::array<double, 4>{q[1] / norm, q[2] / norm, q[3] / norm, qfac};
}

}  // namespace cuboid
