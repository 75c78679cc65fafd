// SPDX-License-Identifier: Apache-2.0
// Everything here is strides and core's copy and fill, so it runs wherever those do and needs no kernels of its own.
#include "kernels/views/views.h"

namespace cuboid {
namespace {

/// `axis` counted from the front; `rank` is x's, or one more where a dimension is added.
int axis_of(const char* op, const Tensor& x, std::int64_t axis, int rank) {
  check(axis >= -rank && axis < rank, op, ": axis ", axis, " of a tensor of shape ", x.shape());
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}
int axis_of(const char* op, const Tensor& x, std::int64_t axis) {
  check(x.defined(), op, ": undefined tensor");
  return axis_of(op, x, axis, x.rank());
}

/// The same storage seen in another way.
Tensor seen_as(const Tensor& x, const Shape& shape, const Strides& strides, std::int64_t shift = 0) {
  return Tensor(x.storage(), x.offset() + shift, shape, strides, x.dtype());
}

// ---- reshape -----------------------------------------------------------------------------------

/// Strides that show x's elements in row-major order in `shape`; false when there are none. From the back, x's
/// dimensions are gathered into runs that lie densely, and each run is used up by dimensions of the result.
bool reshaped_strides(const Tensor& x, const Shape& shape, Strides& strides) {
  strides = dense_strides(shape);
  if (x.size() == 0) return true;
  int i = x.rank() - 1;
  std::int64_t left = 1, step = 1;  // elements left in the run, and how far apart they are
  for (int j = shape.rank() - 1; j >= 0; --j) {
    if (shape[j] != 1 && left == 1) {
      while (x.dim(i) == 1) --i;
      step = x.strides()[i];
      for (left = x.dim(i--); i >= 0 && (x.dim(i) == 1 || x.strides()[i] == step * left); --i) left *= x.dim(i);
    }
    if (left % shape[j] != 0) return false;
    strides[j] = step;
    step *= shape[j];
    left /= shape[j];
  }
  return true;
}

/// `shape` with its -1 worked out.
Shape resolved(const Tensor& x, const Shape& asked) {
  Shape shape = asked;
  int open = -1;
  for (int d = 0; d < shape.rank(); ++d) {
    if (shape[d] != -1) continue;
    check(open < 0, "reshape: more than one -1 in ", asked);
    open = d;
    shape[d] = 1;
  }
  const std::int64_t known = shape.count();
  if (open >= 0 && known > 0) shape[open] = x.size() / known;
  check((open < 0 || known > 0) && shape.count() == x.size(), "reshape: ", x.shape(), " has ", x.size(), " elements, ", asked,
        open < 0 ? " has " : " needs a multiple of ", known);
  return shape;
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& asked) {
  check(x.defined(), "reshape: undefined tensor");
  const Shape shape = resolved(x, asked);
  if (shape == x.shape()) return x;
  Strides strides;
  const bool view = reshaped_strides(x, shape, strides);
  Tensor y;
  if (view) {
    y = seen_as(x, shape, strides);
  } else {
    y = empty(shape, {x.dtype(), x.device()});
    copy(x, seen_as(y, x.shape(), dense_strides(x.shape())));
  }
  return record("reshape", y, {x}, [from = x.shape()](const Tensor& g, const Step&) { return Tensors{reshape(g, from)}; });
}

// ---- other strides -----------------------------------------------------------------------------

Tensor permute(const Tensor& x, const Shape& axes) {
  check(x.defined(), "permute: undefined tensor");
  check(axes.rank() == x.rank(), "permute: axes ", axes, " for a tensor of shape ", x.shape());
  Shape shape = x.shape(), inverse = Shape::filled(x.rank(), -1);
  Strides strides = x.strides();
  for (int i = 0; i < x.rank(); ++i) {
    const int a = axis_of("permute", x, axes[i]);
    check(inverse[a] < 0, "permute: axis ", axes[i], " is named twice in ", axes);
    inverse[a] = i;
    shape[i] = x.dim(a);
    strides[i] = x.strides()[a];
  }
  return record("permute", seen_as(x, shape, strides), {x},
                [inverse](const Tensor& g, const Step&) { return Tensors{permute(g, inverse)}; });
}

Tensor transpose(const Tensor& x, int a, int b) {
  Shape axes;
  a = axis_of("transpose", x, a);
  b = axis_of("transpose", x, b);
  for (int i = 0; i < x.rank(); ++i) axes.push_back(i == a ? b : i == b ? a : i);
  return permute(x, axes);
}

Tensor unsqueeze(const Tensor& x, int axis) {
  check(x.defined(), "unsqueeze: undefined tensor");
  const int a = axis_of("unsqueeze", x, axis, x.rank() + 1);
  Shape shape;
  Strides strides;
  for (int i = 0; i <= x.rank(); ++i) {
    if (i == a) {
      shape.push_back(1);
      strides.push_back(i < x.rank() ? x.strides()[i] * x.dim(i) : 1);
    }
    if (i < x.rank()) {
      shape.push_back(x.dim(i));
      strides.push_back(x.strides()[i]);
    }
  }
  return record("unsqueeze", seen_as(x, shape, strides), {x},
                [a](const Tensor& g, const Step&) { return Tensors{squeeze(g, a)}; });
}

Tensor squeeze(const Tensor& x, int axis) {
  const int a = axis_of("squeeze", x, axis);
  check(x.dim(a) == 1, "squeeze: axis ", axis, " of shape ", x.shape(), " is not 1");
  Shape shape;
  Strides strides;
  for (int i = 0; i < x.rank(); ++i) {
    if (i == a) continue;
    shape.push_back(x.dim(i));
    strides.push_back(x.strides()[i]);
  }
  return record("squeeze", seen_as(x, shape, strides), {x},
                [a](const Tensor& g, const Step&) { return Tensors{unsqueeze(g, a)}; });
}

Tensor to_layout(const Tensor& x, Layout layout) {
  check(x.defined(), "to_layout: undefined tensor");
  const Strides strides = dense_strides(x.shape(), layout);
  if (x.strides() == strides) return x;
  Tensor y;
  if (x.is(layout)) {
    y = seen_as(x, x.shape(), strides);
  } else {
    y = empty(x.shape(), {x.dtype(), x.device(), layout});
    copy(x, y);
  }
  return record("to_layout", y, {x}, [](const Tensor& g, const Step&) { return Tensors{g}; });
}

// ---- parts -------------------------------------------------------------------------------------
namespace {

/// x[.., start : start + length : step, ..] along `axis`, unchecked and unrecorded.
Tensor part(const Tensor& x, int axis, std::int64_t start, std::int64_t length, std::int64_t step = 1) {
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape[axis] = length;
  strides[axis] *= step;
  return seen_as(x, shape, strides, length > 0 ? start * x.strides()[axis] : 0);
}

/// Zeros of `shape` with g in place of what slice(.., axis, start, .., step) takes: its adjoint.
Tensor spread(const Tensor& g, const Shape& shape, int axis, std::int64_t start, std::int64_t step) {
  const std::int64_t length = g.dim(axis);
  if (step == 1) {
    Shape lo = Shape::filled(g.rank(), 0), hi = lo;
    lo[axis] = start;
    hi[axis] = shape[axis] - start - length;
    return pad(g, lo, hi);
  }
  const Tensor y = empty_like(g, shape);
  fill(y, 0);
  copy(g, part(y, axis, start, length, step));
  return record("spread", y, {g}, [=](const Tensor& gg, const Step&) { return Tensors{slice(gg, axis, start, length, step)}; });
}

}  // namespace

Tensor slice(const Tensor& x, int axis, std::int64_t start, std::int64_t length, std::int64_t step) {
  const int a = axis_of("slice", x, axis);
  const std::int64_t n = x.dim(a), first = start < 0 ? start + n : start;
  check(step >= 1, "slice: step ", step, " is not positive");
  // Written so that nothing overflows: the last element is at first + (length - 1) step.
  const bool fits =
      length >= 0 && first >= 0 && first <= n && (length == 0 || (first < n && length - 1 <= (n - 1 - first) / step));
  check(fits, "slice: ", length, " elements from ", start, step == 1 ? "" : join_text(" with step ", step), " along axis ", axis,
        " of shape ", x.shape());
  if (first == 0 && length == n && step == 1) return x;
  return record("slice", part(x, a, first, length, step), {x}, [a, first, step, from = x.shape()](const Tensor& g, const Step&) {
    return Tensors{spread(g, from, a, first, step)};
  });
}

Tensor select(const Tensor& x, int axis, std::int64_t index) {
  const int a = axis_of("select", x, axis);
  check(index >= -x.dim(a) && index < x.dim(a), "select: index ", index, " along axis ", axis, " of shape ", x.shape());
  return squeeze(slice(x, a, index, 1), a);
}

Tensor pad(const Tensor& x, const Shape& lo, const Shape& hi, double value) {
  check(x.defined(), "pad: undefined tensor");
  check(lo.rank() == x.rank() && hi.rank() == x.rank(), "pad: ", lo, " before and ", hi, " after a tensor of shape ", x.shape());
  Shape shape = x.shape();
  for (int d = 0; d < x.rank(); ++d) {
    check(lo[d] >= 0 && hi[d] >= 0, "pad: ", lo, " before and ", hi, " after; counts must not be negative");
    shape[d] += lo[d] + hi[d];
  }
  if (shape == x.shape()) return x;
  const Tensor y = empty_like(x, shape);
  Tensor inside = y;  // each element is written once: slabs from the outside in, then x
  for (int d = 0; d < x.rank(); ++d) {
    if (lo[d] > 0) fill(part(inside, d, 0, lo[d]), value);
    if (hi[d] > 0) fill(part(inside, d, lo[d] + x.dim(d), hi[d]), value);
    inside = part(inside, d, lo[d], x.dim(d));
  }
  copy(x, inside);
  return record("pad", y, {x}, [lo, from = x.shape()](const Tensor& g, const Step&) {
    Tensor gx = g;
    for (int d = 0; d < from.rank(); ++d) gx = slice(gx, d, lo[d], from[d]);
    return Tensors{gx};
  });
}

Tensor flip(const Tensor& x, const Shape& axes) {
  check(x.defined(), "flip: undefined tensor");
  Strides backwards = x.strides();
  std::int64_t shift = 0;
  for (const auto axis : axes) {
    const int a = axis_of("flip", x, axis);
    check(backwards[a] == x.strides()[a], "flip: axis ", axis, " is named twice in ", axes);
    if (x.dim(a) < 2) continue;
    backwards[a] = -x.strides()[a];
    shift += (x.dim(a) - 1) * x.strides()[a];
  }
  const Tensor y = empty_like(x);
  if (x.size() > 0) copy(seen_as(x, x.shape(), backwards, shift), y);
  return record("flip", y, {x}, [axes](const Tensor& g, const Step&) { return Tensors{flip(g, axes)}; });
}

Tensor cat(const Tensors& parts, int axis) {
  check(!parts.empty(), "cat: no tensors");
  const Tensor& first = parts.front();
  const int a = axis_of("cat", first, axis);
  Shape shape = first.shape();
  std::vector<std::int64_t> lengths;
  shape[a] = 0;
  for (const auto& t : parts) {
    check(t.defined(), "cat: undefined tensor");
    check(t.device() == first.device(), "cat: tensors on ", first.device(), " and ", t.device());
    check(t.dtype() == first.dtype(), "cat: ", first.dtype(), " and ", t.dtype(), "; cast one of them");
    bool same = t.rank() == first.rank();
    for (int d = 0; same && d < t.rank(); ++d) same = d == a || t.dim(d) == first.dim(d);
    check(same, "cat: shapes ", first.shape(), " and ", t.shape(), " along axis ", axis);
    lengths.push_back(t.dim(a));
    shape[a] += t.dim(a);
  }
  if (parts.size() == 1) return first;
  const Tensor y = empty_like(first, shape);
  std::int64_t at = 0;
  for (const auto& t : parts) {
    copy(t, part(y, a, at, t.dim(a)));
    at += t.dim(a);
  }
  return record("cat", y, parts, [a, lengths](const Tensor& g, const Step& step) {
    Tensors gs;
    std::int64_t start = 0;
    for (std::size_t i = 0; i < lengths.size(); start += lengths[i++])
      gs.push_back(step.wants(i) ? slice(g, a, start, lengths[i]) : Tensor());
    return gs;
  });
}

}  // namespace cuboid
