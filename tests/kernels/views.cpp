// SPDX-License-Identifier: Apache-2.0
#include "kernels/views/views.h"

#include "tests/gradcheck.h"

using namespace cuboid;
using namespace cuboid::test;

namespace {

constexpr DType every_dtype[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8};

/// 0, 1, 2, ...: every element is told from every other.
Tensor numbered(const Shape& shape, DType dtype = DType::f64) {
  std::vector<double> numbers(static_cast<std::size_t>(shape.count()));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<double>(i);
  const Tensor x = values(numbers, shape), y = empty(shape, on_device({.dtype = dtype}));
  copy(x, y);
  return y;
}

/// What a view or copy must be: element `index` of the result is element source(index) of x, or `otherwise`.
using Source = std::function<Shape(const Shape&)>;
Tensor gathered(const Tensor& x, const Shape& shape, const Source& source, double otherwise = 0) {
  const auto values = x.to_vector();
  const Strides strides = dense_strides(x.shape()), steps = dense_strides(shape);
  const Tensor y = full(shape, otherwise, {.dtype = DType::f64});
  for (std::int64_t i = 0; i < y.size(); ++i) {
    Shape index = shape;
    for (int d = 0; d < shape.rank(); ++d) index[d] = i / steps[d] % shape[d];
    const Shape from = source(index);
    std::int64_t at = 0;
    bool inside = true;
    for (int d = 0; d < x.rank(); ++d) {
      inside = inside && from[d] >= 0 && from[d] < x.dim(d);
      at += from[d] * strides[d];
    }
    if (inside) y.mutable_data<double>()[i] = values[static_cast<std::size_t>(at)];
  }
  return y;
}

struct Case {
  const char* name;
  Shape in;
  Function op;
  Shape out;
  Source source;
  double otherwise = 0;
};

const Case cases[] = {
    {"permute",
     {2, 3, 4},
     [](auto& t) {
       return permute(t[0], {2, 0, -2});
     },
     {4, 2, 3},
     [](auto& i) {
       return Shape{i[1], i[2], i[0]};
     }},
    {"transpose",
     {2, 3, 4},
     [](auto& t) { return transpose(t[0], -1, 0); },
     {4, 3, 2},
     [](auto& i) {
       return Shape{i[2], i[1], i[0]};
     }},
    {"unsqueeze",
     {2, 3},
     [](auto& t) { return unsqueeze(t[0], -2); },
     {2, 1, 3},
     [](auto& i) {
       return Shape{i[0], i[2]};
     }},
    {"squeeze",
     {2, 1, 3},
     [](auto& t) { return squeeze(t[0], 1); },
     {2, 3},
     [](auto& i) {
       return Shape{i[0], 0, i[1]};
     }},
    {"slice",
     {2, 5, 3, 3},
     [](auto& t) { return slice(t[0], 1, 1, 3); },
     {2, 3, 3, 3},
     [](auto& i) {
       return Shape{i[0], i[1] + 1, i[2], i[3]};
     }},
    {"slice with a step",
     {2, 7, 3},
     [](auto& t) { return slice(t[0], 1, -6, 3, 2); },
     {2, 3, 3},
     [](auto& i) {
       return Shape{i[0], 2 * i[1] + 1, i[2]};
     }},
    {"slice to nothing", {2, 7, 3}, [](auto& t) { return slice(t[0], 1, 7, 0); }, {2, 0, 3}, [](auto& i) { return i; }},
    {"select",
     {2, 3, 4},
     [](auto& t) { return select(t[0], 1, -1); },
     {2, 4},
     [](auto& i) {
       return Shape{i[0], 2, i[1]};
     }},
    {"pad",
     {2, 3, 2},
     [](auto& t) {
       return pad(t[0], {0, 1, 2}, {1, 0, 3}, 5);
     },
     {3, 4, 7},
     [](auto& i) {
       return Shape{i[0], i[1] - 1, i[2] - 2};
     },
     5},
    {"pad of nothing",
     {0, 2},
     [](auto& t) {
       return pad(t[0], {1, 0}, {2, 0}, 5);
     },
     {3, 2},
     [](auto& i) {
       return Shape{-1, i[1]};
     },
     5},
    {"flip",
     {2, 3, 4},
     [](auto& t) {
       return flip(t[0], {0, -1});
     },
     {2, 3, 4},
     [](auto& i) {
       return Shape{1 - i[0], i[1], 3 - i[2]};
     }},
    {"contiguous", {2, 3, 2, 2}, [](auto& t) { return contiguous(t[0]); }, {2, 3, 2, 2}, [](auto& i) { return i; }},
    {"channels last",
     {2, 3, 2, 2},
     [](auto& t) { return to_layout(t[0], Layout::channels_last); },
     {2, 3, 2, 2},
     [](auto& i) { return i; }},
    {"flatten",
     {2, 3, 2, 2},
     [](auto& t) {
       return reshape(t[0], {2, -1});
     },
     {2, 12},
     [](auto& i) {
       return Shape{i[0], i[1] / 4, i[1] / 2 % 2, i[1] % 2};
     }},
    {"regroup",
     {4, 6, 3},
     [](auto& t) {
       return reshape(t[0], {2, 2, 1, 18});
     },
     {2, 2, 1, 18},
     [](auto& i) {
       return Shape{2 * i[0] + i[1], i[3] / 3, i[3] % 3};
     }},
};

TEST(Views, MoveEveryElementToItsPlace) {
  for (const auto& c : cases)
    for (const DType dtype : every_dtype)
      for (const Lies way : every_way) {
        const Tensor x = laid(numbered(c.in, dtype), way), y = c.op({x});
        EXPECT_EQ(y.dtype(), dtype);
        EXPECT_TRUE(equal(y, gathered(x, c.out, c.source, c.otherwise))) << c.name << " of " << dtype << " " << name_of(way);
      }
}

TEST(Views, Gradients) {
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    gradcheck([&](const Tensors& in) { return square(c.op(in)); }, {random(c.in)}, {.second_order = true});
  }
}

TEST(Views, ShareMemoryWhereTheyCan) {
  const Tensor x = numbered({2, 6, 4, 4}), last = to_layout(x, Layout::channels_last);
  const auto shared = [](const Tensor& a, const Tensor& b) { return a.storage() == b.storage(); };
  EXPECT_TRUE(shared(x, permute(x, {3, 1, 0, 2})));
  EXPECT_TRUE(shared(x, slice(x, 1, 2, 2, 2)));
  EXPECT_TRUE(shared(x, reshape(x, {3, 4, -1})));
  EXPECT_TRUE(shared(x, reshape(slice(x, 1, 2, 2), {2, 8, 4}))) << "the sliced axis stays the end of a run";
  EXPECT_FALSE(shared(x, reshape(slice(x, 1, 2, 2), {-1})));
  EXPECT_TRUE(shared(last, reshape(last, {2, 6, 16}))) << "the pixels of a channels-last tensor lie evenly";
  EXPECT_FALSE(shared(last, reshape(last, {2, 96})));
  EXPECT_TRUE(shared(x, reshape(expand(reshape(x, {2, 1, 96}), {2, 5, 96}), {2, 5, 4, 24})));
  EXPECT_EQ(contiguous(x).id(), x.id());
  EXPECT_EQ(to_layout(last, Layout::channels_last).id(), last.id());
  EXPECT_EQ(slice(x, 0, 0, 2).id(), x.id());
}

TEST(Views, ReshapeAgreesWithACopyForRandomShapes) {
  Random r(5);
  std::int64_t views = 0;
  for (int trial = 0; trial < 500; ++trial) {
    // Factors 2, 2, 3, 3, 2 and ones, grouped at random on both sides; axes in random order, some sliced.
    const auto grouped = [&] {
      Shape s = {1};
      for (const int f : {2, 2, 3, 3, 2})
        if (s.rank() < 7 && r.integer(0, 1)) s.push_back(f);
        else s[-1] *= f;
      if (r.integer(0, 1)) s.push_back(1);
      return s;
    };
    Tensor x = numbered(grouped());
    for (int k = 0; k < 2 && r.integer(0, 1); ++k)
      x = contiguous(transpose(x, static_cast<int>(r.integer(0, x.rank() - 1)), static_cast<int>(r.integer(0, x.rank() - 1))));
    x = transpose(x, static_cast<int>(r.integer(0, x.rank() - 1)), static_cast<int>(r.integer(0, x.rank() - 1)));
    const Shape shape = grouped();
    const Tensor y = reshape(x, shape);
    views += y.storage() == x.storage();
    EXPECT_EQ(y.to_vector(), x.to_vector()) << x.shape() << x.strides() << " to " << shape;
  }
  EXPECT_GT(views, 100);
  EXPECT_LT(views, 490);
}

TEST(Copy, AcrossLayoutsPutsEveryElementInItsPlace) {
  // Read through raw pointers, from a dense copy of all of the memory: to_vector() of a view is a copy across itself.
  const Shape shapes[] = {{2, 33, 5, 40}, {1, 4, 4, 4}, {3, 70, 2, 3, 17}, {40, 50}, {2, 5, 100, 1}};
  for (const Shape& shape : shapes)
    for (int a = 0; a < shape.rank(); ++a)
      for (int b = 0; b < shape.rank(); ++b) {
        const Tensor x = numbered(shape, DType::i32), room = empty(transpose(x, a, b).shape(), on_device({.dtype = DType::i32})),
                     y = transpose(room, a, b);
        copy(x, y);
        const Tensor there = to(room, Device::cpu);
        std::int64_t wrong = 0;
        for (std::int64_t i = 0; i < x.size(); ++i) {
          std::int64_t at = 0;
          for (int d = 0; d < shape.rank(); ++d) at += i / x.strides()[d] % shape[d] * y.strides()[d];
          wrong += there.data<std::int32_t>()[at] != i;
        }
        EXPECT_EQ(wrong, 0) << shape << a << b;
      }
}

TEST(Views, OneChannelRemembersItsLayout) {
  const Tensor x = numbered({2, 1, 4, 4});
  EXPECT_EQ(x.options().layout, Layout::contiguous);
  const Tensor last = to_layout(x, Layout::channels_last);
  EXPECT_EQ(last.storage(), x.storage());
  EXPECT_EQ(last.options().layout, Layout::channels_last);
  EXPECT_TRUE(empty_like(last, {2, 8, 4, 4}).is(Layout::channels_last));
  EXPECT_EQ(to_layout(last, Layout::contiguous).options().layout, Layout::contiguous);
}

TEST(Cat, JoinsAndKeepsTheLayout) {
  for (const int axis : {0, 1, -1})
    for (const DType dtype : every_dtype)
      for (const Lies way : every_way) {
        Shape a = {2, 3, 2, 4}, b = a;
        b[axis] = 5;
        Shape both = a;
        both[axis] = a[axis] + b[axis];
        const Tensor x = laid(numbered(a, dtype), way), y = laid(numbered(b, dtype), way);
        const Tensor joined = cat({x, y}, axis);
        const auto take = [&](std::int64_t start, const Shape& s) {
          return gathered(joined, s, [&](Shape i) {
            i[axis] += start;
            return i;
          });
        };
        EXPECT_EQ(joined.shape(), both);
        EXPECT_TRUE(equal(take(0, a), x)) << dtype << name_of(way) << axis;
        EXPECT_TRUE(equal(take(a[axis], b), y)) << dtype << name_of(way) << axis;
        if (way == Lies::channels_last) {
          EXPECT_TRUE(joined.is(Layout::channels_last));
        }
      }
  EXPECT_EQ(cat({numbered({2, 0, 3}), numbered({2, 4, 3}), numbered({2, 0, 3})}).shape(), (Shape{2, 4, 3}));
}

TEST(Cat, Gradients) {
  for (const int axis : {0, 1, 3})
    gradcheck(
        [&](const Tensors& in) {
          return square(cat({in[0], in[1], in[0]}, axis));
        },
        {random({2, 3, 2, 2}), random({2, 3, 2, 2}, {.seed = 2})}, {.second_order = true});
  const Tensor a = random({1, 2, 2}).requires_grad(true), b = random({1, 3, 2});
  EXPECT_EQ(grad(cat({a, b}), {a}, {.seed = zeros({1, 5, 2}, on_device({.dtype = DType::f64}))})[0].shape(), a.shape());
}

TEST(Views, BadArguments) {
  const Tensor x = zeros({2, 3, 4}, on_device());
  const struct {
    const char* says;
    std::function<void()> call;
  } bad[] = {
      {"reshape: [2,3,4] has 24 elements, [5,5] has 25",
       [&] {
         reshape(x, {5, 5});
       }},
      {"reshape: [2,3,4] has 24 elements, [5,-1] needs a multiple of 5",
       [&] {
         reshape(x, {5, -1});
       }},
      {"reshape: more than one -1 in [-1,-1]",
       [&] {
         reshape(x, {-1, -1});
       }},
      {"needs a multiple of 0",
       [&] {
         reshape(zeros({0, 3}), {0, -1});
       }},
      {"not a valid size",
       [&] {
         reshape(x, {-2, 12});
       }},
      {"not a valid size",
       [&] {
         reshape(x, {std::int64_t{1} << 40, std::int64_t{1} << 40});
       }},
      {"permute: axes [0,1] for a tensor of shape [2,3,4]",
       [&] {
         permute(x, {0, 1});
       }},
      {"permute: axis 1 is named twice in [0,1,1]",
       [&] {
         permute(x, {0, 1, 1});
       }},
      {"transpose: axis 3 of a tensor of shape [2,3,4]", [&] { transpose(x, 0, 3); }},
      {"squeeze: axis 1 of shape [2,3,4] is not 1", [&] { squeeze(x, 1); }},
      {"unsqueeze: axis 4", [&] { unsqueeze(x, 4); }},
      {"slice: 3 elements from 1 along axis 1 of shape [2,3,4]", [&] { slice(x, 1, 1, 3); }},
      {"slice: 2 elements from 1 with step 2 along axis 1", [&] { slice(x, 1, 1, 2, 2); }},
      {"slice: -1 elements", [&] { slice(x, 1, 0, -1); }},
      {"slice: 1 elements from -4", [&] { slice(x, 1, -4, 1); }},
      {"slice: step 0", [&] { slice(x, 1, 0, 1, 0); }},
      {"slice: ", [&] { slice(x, 1, 0, INT64_MAX, INT64_MAX); }},
      {"slice: axis -4", [&] { slice(x, -4, 0, 1); }},
      {"select: index 3 along axis 1 of shape [2,3,4]", [&] { select(x, 1, 3); }},
      {"pad: [1,1] before and [0,0,0] after a tensor of shape [2,3,4]",
       [&] {
         pad(x, {1, 1}, {0, 0, 0});
       }},
      {"counts must not be negative",
       [&] {
         pad(x, {0, -1, 0}, {0, 0, 0});
       }},
      {"flip: axis -1 is named twice",
       [&] {
         flip(x, {2, -1});
       }},
      {"cat: no tensors", [&] { cat({}); }},
      {"cat: shapes [2,3,4] and [2,3,5] along axis 1",
       [&] {
         cat({x, zeros({2, 3, 5}, on_device())});
       }},
      {"cat: shapes [2,3,4] and [2,3] along axis 1",
       [&] {
         cat({x, zeros({2, 3}, on_device())});
       }},
      {"cat: f32 and f64; cast one of them",
       [&] {
         cat({x, zeros({2, 3, 4}, on_device({.dtype = DType::f64}))});
       }},
      {"cat: axis 3",
       [&] {
         cat({x, x}, 3);
       }},
      {"reshape: undefined tensor", [&] { reshape(Tensor(), {1}); }},
      {"slice: undefined tensor", [&] { slice(Tensor(), 0, 0, 1); }},
  };
  for (const auto& b : bad) EXPECT_NE(error_of(b.call).find(b.says), std::string::npos) << b.says << " | " << error_of(b.call);
}

}  // namespace
