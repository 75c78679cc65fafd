// SPDX-License-Identifier: Apache-2.0
#include "apps/deepis/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "apps/app.h"
#include "apps/deepis/overlap.h"
#include "apps/deepis/postprocess.h"
#include "apps/text.h"
#include "core/autograd.h"
#include "core/profiler.h"
#include "layers/precision.h"

namespace cuboid::deepis {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

class PatchTask : public training::Task {
 public:
  PatchTask(const TrainOptions& options, ModelCard card, const LabelledDataset& dataset, const Parts& parts)
      : options_(options),
        card_(std::move(card)),
        dataset_(dataset),
        train_(parts.train),
        valid_(parts.valid),
        loader_(dataset, parts.train, loading(options, true)) {
    const profiler::Range range("make the net");
    leave_out_single_voxels();
    card_.patch = loader_.patch();
    card_.net.seed = loop().seed;
    net_ = std::make_unique<GcnUnet>(card_.net);
    net_->to(loop().device);
  }

  Module& net() override { return *net_; }
  std::int64_t batches() const override { return loader_.batches(); }
  std::int64_t samples() const override { return loader_.samples(); }
  void seek(LoaderState position) override { loader_.seek(position); }

  std::optional<training::Portion> next() override {
    auto batch = loader_.next();
    if (!batch) return std::nullopt;
    return training::Portion{.inputs = {batch->x, truth(*batch)},
                             .weight = static_cast<double>(batch->cases.size()),
                             .at = {batch->epoch, batch->position},
                             .total = batch->total};
  }

  Tensor loss(const Tensors& inputs, std::int64_t epoch) override {
    if (!options_.supervised) return main_loss((*net_)(inputs[0]), inputs[1]);
    const GcnUnetOutput out = net_->forward(inputs[0]);
    const Tensor main = main_loss(out.main, inputs[1]);
    const Supervision weights = deepis_supervision(epoch);
    return classes() ? supervised_by_labels(main, out.aux3, out.aux4, inputs[1], weights)
                     : supervised_by_distance(main, out.aux3, out.aux4, inputs[1], weights, options_.edge.outside);
  }
  /// The schedule of the supervision is a host's decision.
  std::int64_t phase(std::int64_t epoch) const override {
    return options_.supervised ? std::min<std::int64_t>(epoch / 50, 3) : 0;
  }

  bool validates() const override { return !valid_.empty(); }
  training::Metrics validate(const std::function<void()>& poll) override;

  Json options() const override {
    const PairAugmentOptions& a = options_.augment;
    return Json::object({{"loss", name_of(options_.loss)},
                         {"edge_weight", options_.edge.weight},
                         {"edge_reach", options_.edge.reach},
                         {"supervised", options_.supervised},
                         {"patch", join_text(loader_.patch())},
                         {"patches", loader_.samples()},
                         {"foreground", options_.foreground},
                         {"rotate", a.rotate},
                         {"elastic", a.elastic},
                         {"zoom", a.zoom},
                         {"legacy_augmentation", a.legacy},
                         {"data", card_.data_fingerprint}});
  }
  Metadata metadata() const override { return metadata_of(card_); }

 private:
  const training::Options& loop() const { return options_.loop; }
  bool classes() const { return dataset_.head() == Head::classes; }
  void leave_out_single_voxels();
  const Tensor& truth(const PatchBatch& batch) const { return classes() ? batch.labels : batch.target; }

  Tensor main_loss(const Tensor& output, const Tensor& truth) const;

  TrainOptions options_;
  ModelCard card_;
  LabelledDataset dataset_;
  std::vector<std::int64_t> train_, valid_;
  PatchLoader loader_;
  std::unique_ptr<GcnUnet> net_;
};

/// The coarsest scale is a sixteenth: batch norm cannot learn there from one patch of 16 voxels or fewer along every axis.
void PatchTask::leave_out_single_voxels() {
  const Shape patch = loader_.patch();
  if (std::any_of(patch.begin(), patch.end(), [](std::int64_t n) { return n > 16; })) return;
  check<app::UsageError>(loop().batch > 1, app::with_hint(join_text("--batch-size 1: batch norm cannot learn from one patch of ",
                                                                    patch, ", which is one voxel at the coarsest scale"),
                                                          "--batch-size 2, or a larger --patch"));
  const std::int64_t n = loader_.samples();
  if (n % loop().batch != 1) return;
  check<DataError>(n > 1, "one patch of ", patch, " cannot be trained on: it is one voxel at the coarsest scale");
  PatchLoaderOptions o = loading(options_, true);
  o.drop_last = true;
  loader_ = PatchLoader(dataset_, train_, o);
}

Tensor PatchTask::main_loss(const Tensor& output, const Tensor& truth) const {
  switch (options_.loss) {
    case Loss::edge_l1:
      return edge_weighted_l1(output, truth, options_.edge);
    case Loss::l1:
      return l1(output, truth);
    case Loss::dice:
      return dice_loss(output, truth, {.batch = true});
    case Loss::cross_entropy:
      return voxel_cross_entropy(output, truth);
    case Loss::dice_cross_entropy:
      return dice_cross_entropy(output, truth, {.dice = {.batch = true}});
  }
  fail("deepis: a loss without a name");
}

training::Metrics PatchTask::validate(const std::function<void()>& poll) {
  if (!validates()) return {{"loss", nan}, {"dice", nan}};
  const Recording off(false);
  net_->eval();
  Overlap overlap(dataset_.head(), card_.net.out_channels);
  const Spacing spacing = card_.spacing_um[0] > 0 ? card_.spacing_um : Spacing{1, 1, 1};
  const double threshold = resolved({}, spacing).threshold_um;  // as an untouched prediction has it
  double loss_sum = 0, patches = 0;
  const auto n = static_cast<std::int64_t>(valid_.size());
  const std::int64_t begin = n * loop().rank() / loop().ranks(), end = n * (loop().rank() + 1) / loop().ranks();
  if (begin < end) {
    PatchLoaderOptions o = loading(options_, false);
    o.patch = loader_.patch();
    PatchLoader loader(dataset_, {valid_.begin() + begin, valid_.begin() + end}, o);
    while (const auto batch = loader.next()) {
      std::optional<ComputeIn> scope;
      if (loop().bf16) scope.emplace(DType::bf16);
      const Tensor output = (*net_)(batch->x);
      const auto count = static_cast<double>(batch->cases.size());
      loss_sum += main_loss(output, truth(*batch)).item() * count;
      patches += count;
      overlap.add(output, truth(*batch), threshold);
      poll();
    }
  }
  if (loop().ranks() > 1) {
    const Tensor sums = from_values<double>({loss_sum, patches}, {2}), counts = overlap.counts();
    loop().group->all_reduce(sums);
    loop().group->all_reduce(counts);
    loss_sum = sums.data<double>()[0], patches = sums.data<double>()[1];
    overlap.set_counts(counts);
  }
  return {{"loss", loss_sum / patches}, {"dice", overlap.dice()}};
}

}  // namespace

const char* name_of(Loss loss) { return loss_names[static_cast<std::size_t>(loss)].c_str(); }

Loss loss_of(const std::string& name, Head head) {
  const bool classes = head == Head::classes;
  if (name == "auto") return classes ? Loss::dice_cross_entropy : Loss::edge_l1;
  const auto at = std::find(loss_names.begin(), loss_names.end(), name);
  check<app::UsageError>(at != loss_names.end(), "--loss: '", name, "' is not one of auto, ", app::join(loss_names, ", "));
  const Loss loss = static_cast<Loss>(at - loss_names.begin());
  const bool of_classes = loss != Loss::edge_l1 && loss != Loss::l1;
  check<app::UsageError>(of_classes == classes,
                         app::with_hint(join_text("--loss ", name, ": compares ", of_classes ? "classes" : "distances",
                                                  ", and the head is ", cuboid::name_of(head)),
                                        classes ? "--loss dice-ce, dice or ce" : "--loss edge-l1 or l1"));
  return loss;
}

PatchLoaderOptions loading(const TrainOptions& options, bool training) {
  const training::Options& loop = options.loop;
  PatchLoaderOptions o{.batch = loop.batch,
                       .patch = options.patch,
                       .patches_per_case = options.patches_per_case,
                       .foreground = options.foreground,
                       .shuffle = training,
                       .fixed = !training,
                       .seed = loop.seed,
                       .workers = static_cast<int>(loop.workers),
                       .device = loop.device};
  if (!training) return o;
  o.rank = loop.rank();
  o.ranks = loop.ranks();
  o.augment = options.augment;
  o.margin = options.margin;
  return o;
}

std::unique_ptr<training::Trainer> make_trainer(const TrainOptions& options, ModelCard card, const LabelledDataset& dataset,
                                                const Parts& parts, const std::filesystem::path& checkpoints) {
  return std::make_unique<training::Trainer>(options.loop, std::make_unique<PatchTask>(options, std::move(card), dataset, parts),
                                             checkpoints);
}

}  // namespace cuboid::deepis
