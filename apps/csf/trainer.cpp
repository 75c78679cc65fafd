// SPDX-License-Identifier: Apache-2.0
#include "apps/csf/trainer.h"

#include <limits>

#include "apps/metrics.h"
#include "core/profiler.h"
#include "data/loader.h"
#include "layers/loss.h"

namespace cuboid::csf {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// 1/count, scaled so that their mean over the samples is 1.
Tensor inverse_frequencies(const Dataset& dataset, const std::vector<std::int64_t>& indices) {
  std::vector<float> weights(static_cast<std::size_t>(dataset.classes()), 0);
  for (const auto i : indices) weights[static_cast<std::size_t>(dataset[i].label)] += 1;
  for (float& w : weights) w = w > 0 ? static_cast<float>(indices.size()) / (static_cast<float>(weights.size()) * w) : 0;
  return from_values(weights, {static_cast<std::int64_t>(weights.size())});
}

/// The rows of all ranks, where these are from `begin` on: a sum with zeros.
metrics::Probabilities of_all_ranks(const Group& group, const metrics::Probabilities& rows, std::int64_t begin,
                                    std::int64_t count, std::int64_t classes) {
  const Tensor all = zeros({count, classes}, {.dtype = DType::f64});
  double* to = all.mutable_data<double>() + begin * classes;
  for (const auto& row : rows) to = std::copy(row.begin(), row.end(), to);
  group.all_reduce(all);
  metrics::Probabilities result;
  const double* from = all.data<double>();
  for (std::int64_t i = 0; i < count; ++i) result.emplace_back(from + i * classes, from + (i + 1) * classes);
  return result;
}

class FoldTask : public training::Task {
 public:
  FoldTask(const TrainOptions& options, ModelCard card, const Dataset& dataset, const Fold& fold)
      : options_(options),
        card_(std::move(card)),
        dataset_(dataset),
        fold_(fold),
        loader_(dataset_, fold_.train,
                {.batch = loop().batch,
                 .shuffle = true,
                 // batch norm cannot learn from one cell, so a last batch of one is left out
                 .drop_last = static_cast<std::int64_t>(fold_.train.size()) % loop().batch == 1 &&
                              static_cast<std::int64_t>(fold_.train.size()) > loop().batch,
                 .seed = loop().seed,
                 .workers = static_cast<int>(loop().workers),
                 .augment = options_.augment,
                 .device = loop().device,
                 .rank = loop().rank(),
                 .ranks = loop().ranks()}) {
    const profiler::Range range("make the net");
    card_.net.seed = loop().seed;
    net_ = std::make_unique<DenseNet>(card_.net);
    net_->to(loop().device);
    if (!options_.balanced_loss) return;
    class_weights_ = to(inverse_frequencies(dataset_, fold_.train), loop().device);
    weight_of_class_ = class_weights_.to_vector();
  }

  Module& net() override { return *net_; }
  std::int64_t batches() const override { return loader_.batches(); }
  std::int64_t samples() const override { return loader_.samples(); }
  void seek(LoaderState position) override { loader_.seek(position); }

  std::optional<training::Portion> next() override {
    auto batch = loader_.next();
    if (!batch) return std::nullopt;
    auto weight = static_cast<double>(batch->indices.size());
    if (!weight_of_class_.empty()) {
      weight = 0;
      for (const auto i : batch->indices) weight += weight_of_class_[static_cast<std::size_t>(dataset_[i].label)];
    }
    return training::Portion{
        .inputs = {batch->x, batch->labels}, .weight = weight, .at = {batch->epoch, batch->position}, .total = batch->total};
  }

  Tensor loss(const Tensors& inputs, std::int64_t /*epoch*/) override {
    return cross_entropy((*net_)(inputs[0]), inputs[1],
                         {.class_weights = class_weights_, .label_smoothing = options_.label_smoothing});
  }

  bool validates() const override { return !fold_.valid.empty(); }

  training::Metrics validate(const std::function<void()>& poll) override {
    if (!validates()) return {{"loss", nan}, {"accuracy", nan}, {"balanced-accuracy", nan}, {"auroc", nan}};
    const auto n = static_cast<std::int64_t>(fold_.valid.size());
    const std::int64_t begin = n * loop().rank() / loop().ranks(), end = n * (loop().rank() + 1) / loop().ranks();
    metrics::Probabilities probabilities;
    if (begin < end) {
      Loader loader(dataset_, {fold_.valid.begin() + begin, fold_.valid.begin() + end},
                    {.batch = loop().batch, .workers = static_cast<int>(loop().workers), .device = loop().device});
      while (const auto batch = loader.next()) {
        for (auto& p : predict(*net_, batch->x, {.bf16 = loop().bf16})) probabilities.push_back(std::move(p));
        poll();
      }
    }
    if (loop().ranks() > 1) probabilities = of_all_ranks(*loop().group, probabilities, begin, n, dataset_.classes());
    metrics::Labels labels;
    for (const auto i : fold_.valid) labels.push_back(dataset_[i].label);
    const auto confusion = metrics::confusion(labels, metrics::argmax(probabilities), dataset_.classes());
    return {{"loss", metrics::log_loss(probabilities, labels)},
            {"accuracy", confusion.accuracy()},
            {"balanced-accuracy", confusion.balanced_accuracy()},
            {"auroc", metrics::macro_auroc(probabilities, labels)}};
  }

  Json options() const override {
    return Json::object({{"label_smoothing", options_.label_smoothing},
                         {"balanced_loss", options_.balanced_loss},
                         {"train_cells", static_cast<std::int64_t>(fold_.train.size())},
                         {"rotate_degrees", options_.augment.rotate_degrees},
                         {"data", card_.data_fingerprint}});
  }
  Metadata metadata() const override { return metadata_of(card_); }

 private:
  const training::Options& loop() const { return options_.loop; }

  TrainOptions options_;
  ModelCard card_;
  Dataset dataset_;
  Fold fold_;
  Loader loader_;
  std::unique_ptr<DenseNet> net_;
  Tensor class_weights_;
  std::vector<double> weight_of_class_;
};

}  // namespace

std::unique_ptr<training::Trainer> make_trainer(const TrainOptions& options, ModelCard card, const Dataset& dataset,
                                                const Fold& fold, const std::filesystem::path& checkpoints) {
  return std::make_unique<training::Trainer>(options.loop, std::make_unique<FoldTask>(options, std::move(card), dataset, fold),
                                             checkpoints);
}

}  // namespace cuboid::csf
