// SPDX-License-Identifier: Apache-2.0
// Copies of weights in the orders that kernels want them in, kept with the weights until these are written to.
#pragma once
#include <any>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace cuboid {

/// What Storage::attachment holds, whoever made the copies.
class PackedCopies {
 public:
  /// The copy of the weights at `plain` in `order` (any value with ==), made by make() where there is none yet. Kept in `home`,
  /// the weights' storage; with null it is the caller's alone.
  template <class Order, class Make>
  static std::shared_ptr<const void> get(Storage* home, const void* plain, const Order& order, Make&& make) {
    if (!home) return make();
    if (const auto known = find(*home, plain, order)) return known;
    std::shared_ptr<const void> data = make();
    const std::scoped_lock lock(guard_);
    if (!home->attachment) home->attachment = std::make_shared<PackedCopies>();
    std::static_pointer_cast<PackedCopies>(home->attachment)->all_.push_back({plain, order, data});
    return data;
  }

 private:
  struct Copy {
    const void* plain;  // several weights may share a storage
    std::any order;
    std::shared_ptr<const void> data;
  };
  template <class Order>
  static std::shared_ptr<const void> find(const Storage& home, const void* plain, const Order& order) {
    const std::scoped_lock lock(guard_);
    if (const auto copies = std::static_pointer_cast<PackedCopies>(home.attachment))
      for (const Copy& c : copies->all_)
        if (const Order* own = std::any_cast<Order>(&c.order); own && c.plain == plain && *own == order) return c.data;
    return {};
  }
  inline static std::mutex guard_;
  std::vector<Copy> all_;
};

}  // namespace cuboid
