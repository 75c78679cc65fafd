// SPDX-License-Identifier: Apache-2.0
#include "optim/parallel.h"

#include <algorithm>

#include "core/autograd.h"
#include "core/random.h"
#include "layers/norm.h"

namespace cuboid {

DataParallel::DataParallel(Module& net, const Group& group, ParallelOptions options)
    : net_(net), group_(group), behind_(group.another()) {
  if (group.size() == 1) return;
  for (const auto& [name, tensor] : net.state_dict()) group.broadcast(tensor.detach());
  if (options.synchronise_norm) {
    norm_ = std::make_shared<NormRanks>(group);
    for (const auto& [path, module] : net.modules())
      if (auto* norm = dynamic_cast<BatchNorm*>(module)) norm->set_ranks(norm_);
  }
  // Gradients come roughly in the opposite order of the layers.
  Tensors parameters = net.parameters();
  std::reverse(parameters.begin(), parameters.end());
  std::int64_t room = 0;
  for (const Tensor& p : parameters) {
    if (!p.requires_grad()) continue;
    const bool dense = p.is(Layout::contiguous) || p.is(Layout::channels_last);
    check(dense, "parallel: a parameter of shape ", p.shape(), " does not lie densely");
    const bool fits = !buckets_.empty() && buckets_.back().parameters[0].dtype() == p.dtype() &&
                      buckets_.back().parameters[0].device() == p.device() && p.view().bytes() <= room;
    if (!fits) {
      room = buckets_.empty() ? options.first_bucket_bytes : options.bucket_bytes;
      buckets_.emplace_back();
    }
    Bucket& bucket = buckets_.back();
    constexpr std::int64_t aligned = 16;  // elements, so that each gradient starts where kernels like it
    place_of_[p.id()] = {buckets_.size() - 1, bucket.parameters.size()};
    bucket.parameters.push_back(p);
    bucket.offsets.push_back(bucket.count);
    bucket.count += (p.size() + aligned - 1) / aligned * aligned;
    room -= p.view().bytes();
  }
}

DataParallel::~DataParallel() {
  if (!norm_) return;
  for (const auto& [path, module] : net_.modules())
    if (auto* norm = dynamic_cast<BatchNorm*>(module)) norm->set_ranks(nullptr);
}

void DataParallel::begin(const std::vector<std::int64_t>& samples) {
  for (const auto n : samples) check(n > 0, "parallel: a rank without samples cannot take part in a step");
  if (norm_) norm_->set_samples(samples);
}

void DataParallel::begin(std::int64_t own_samples) {
  if (group_.size() == 1) return;
  std::vector<std::int64_t> samples;
  for (const double n : group_.all_gather(from_values<std::int64_t>({own_samples}, {1})).to_vector())
    samples.push_back(static_cast<std::int64_t>(n));
  begin(samples);
}

Tensor DataParallel::slot(const Bucket& bucket, std::size_t i) const {
  const Tensor& p = bucket.parameters[i];
  return Tensor(bucket.flat.storage(), bucket.offsets[i], p.shape(), p.strides(), p.dtype());
}

void DataParallel::open(Bucket& bucket) {
  const Tensor& first = bucket.parameters[0];
  bucket.flat = zeros({bucket.count}, {first.dtype(), first.device()});
  bucket.filled.assign(bucket.parameters.size(), false);
  bucket.missing = bucket.parameters.size();
  bucket.pending.reset();
}

void DataParallel::arrived(const Tensor& leaf) {
  const auto found = place_of_.find(leaf.id());
  if (found == place_of_.end()) return;  // an input that wants a gradient
  const auto [b, i] = found->second;
  Bucket& bucket = buckets_[b];
  copy(leaf.grad().detach(), slot(bucket, i));
  leaf.grad() = Tensor();
  bucket.filled[i] = true;
  --bucket.missing;
  send_ready();
}

/// In their order on every rank, whatever order the gradients come in.
void DataParallel::send_ready() {
  for (; next_ < buckets_.size() && buckets_[next_].missing == 0; ++next_)
    buckets_[next_].pending = behind_->start_all_reduce(buckets_[next_].flat);
}

void DataParallel::backward(const Tensor& loss) {
  if (group_.size() == 1) return cuboid::backward(loss);
  for (Bucket& bucket : buckets_) open(bucket);
  next_ = 0;
  cuboid::backward(loss, {.on_leaf = [this](const Tensor& leaf) { arrived(leaf); }});
  sent_early_ = next_;
  for (Bucket& bucket : buckets_) {
    for (std::size_t i = 0; i < bucket.parameters.size(); ++i)  // gathered before, untouched by this loss
      if (!bucket.filled[i] && bucket.parameters[i].grad().defined()) copy(bucket.parameters[i].grad().detach(), slot(bucket, i));
    bucket.missing = 0;
  }
  send_ready();
  for (Bucket& bucket : buckets_) {
    bucket.pending->wait();
    bucket.pending.reset();
    for (std::size_t i = 0; i < bucket.parameters.size(); ++i) bucket.parameters[i].grad() = slot(bucket, i);
    bucket.flat = Tensor();
  }
}

void DataParallel::collect() {
  if (group_.size() == 1) return;
  for (const Bucket& bucket : buckets_)
    for (const Tensor& p : bucket.parameters) {
      const Tensor sum = zeros_like(p.detach());
      if (p.grad().defined()) copy(p.grad().detach(), sum);
      group_.all_reduce(sum);
      p.grad() = group_.first() ? sum : Tensor();
    }
}

void DataParallel::broadcast_buffers() {
  const NamedTensors parameters = net_.named_parameters();
  for (const auto& [name, tensor] : net_.state_dict())
    if (std::none_of(parameters.begin(), parameters.end(), [&](const auto& p) { return p.first == name; }))
      group_.broadcast(tensor.detach());
}

std::uint64_t rank_seed(std::uint64_t seed, int rank) {
  constexpr std::uint64_t stream = 0x72616e6b;  // "rank"
  return rank == 0 ? seed : RandomKey{seed, stream}.derive(static_cast<std::uint64_t>(rank)).seed;
}

}  // namespace cuboid
