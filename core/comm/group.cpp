// SPDX-License-Identifier: Apache-2.0
#include "core/comm/group.h"

#include <deque>
#include <exception>
#include <optional>

#include "core/comm/exchange.h"
#include "core/comm/wire.h"
#include "core/parallel.h"

namespace cuboid {
namespace {

/// Element count of a tensor that can be sent as it lies.
std::int64_t dense_size(const char* what, const Tensor& x) {
  check(x.is(Layout::contiguous) || x.is(Layout::channels_last), what, ": the tensor of shape ", x.shape(),
        " does not lie densely");
  return x.size();
}
Tensor host_copy(const Tensor& x) { return to(x.detach(), Device::cpu); }

struct Nothing : Pending {
  void wait() override {}
};

/// A sum over host memory that a thread works on.
struct Job : Pending {
  Tensor host, target;  // target: on a device, gets the result in wait(); undefined otherwise
  std::mutex guard;
  std::condition_variable changed;
  bool done = false;
  std::exception_ptr error;

  void wait() override {
    std::unique_lock lock(guard);
    changed.wait(lock, [&] { return done; });
    if (error) std::rethrow_exception(error);
    if (target.defined()) copy(host, target);
    target = Tensor();
  }
};
struct JobHandle : Pending {
  explicit JobHandle(std::shared_ptr<Job> j) : job(std::move(j)) {}
  void wait() override { job->wait(); }
  std::shared_ptr<Job> job;
};

#if CUBOID_CUDA
struct Queued : Pending {
  explicit Queued(Tensor t) : x(std::move(t)) {}
  ~Queued() override { done.wait(); }
  void wait() override { done.wait(); }
  Tensor x;
  cuda::Event done;
};
#endif

/// Who is told of a loss; the device's wire comes later than the watch.
struct Alarm {
  std::mutex guard;
  std::weak_ptr<comm::DeviceWire> device;
  std::function<void(const std::string&)> on_lost;

  void ring(const std::string& what) {
    std::shared_ptr<comm::DeviceWire> wire;
    {
      const std::scoped_lock lock(guard);
      wire = device.lock();
    }
    if (wire) wire->abort();
    if (on_lost) on_lost(what);
  }
};

}  // namespace

struct Group::Impl {
  comm::Place place{0, 1};
  std::shared_ptr<comm::Watch> watch;
  std::shared_ptr<comm::DeviceWire> device;
  std::unique_ptr<comm::Wire> wire;
#if CUBOID_CUDA
  std::optional<cuda::OwnStream> side;
#endif

  // The thread behind start_all_reduce on the host; made when it is first wanted.
  std::mutex guard;
  std::condition_variable changed;
  std::deque<std::shared_ptr<Job>> jobs;
  bool stop = false;
  std::thread worker;

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (watch && std::uncaught_exceptions() > 0) watch->failed();
    if (!worker.joinable()) return;
    {
      const std::scoped_lock lock(guard);
      stop = true;
    }
    changed.notify_all();
    worker.join();
  }

  void join(Launch launch, JoinOptions options);

  void sum_on_host(const Tensor& x) const {
    const View v = x.mutate();
    comm::sum_over(*wire, place, v.data, v.size(), v.dtype);
  }

  void start(std::shared_ptr<Job> job) {
    {
      const std::scoped_lock lock(guard);
      jobs.push_back(std::move(job));
      if (!worker.joinable()) worker = std::thread([this] { work(); });
    }
    changed.notify_all();
  }
  void work() {
    const SerialScope serial;
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock lock(guard);
        changed.wait(lock, [&] { return stop || !jobs.empty(); });
        if (jobs.empty()) return;
        job = std::move(jobs.front());
        jobs.pop_front();
      }
      std::exception_ptr error;
      try {
        sum_on_host(job->host);
      } catch (...) {
        error = std::current_exception();
      }
      {
        const std::scoped_lock lock(job->guard);
        job->done = true;
        job->error = error;
      }
      job->changed.notify_all();
    }
  }
};

void Group::Impl::join(Launch launch, JoinOptions options) {
  if (launch.size == 1) return;
#if CUBOID_MPI
  if (launch.mpi) comm::mpi_start(launch);
#else
  check(!launch.address.empty(),
        "ranks: started by mpirun or srun, but this build has no MPI\nhint: install libopenmpi-dev and "
        "configure again; or tell all processes where rank 0 is: MASTER_ADDR and MASTER_PORT (mpirun -x)");
  launch.mpi = false;
#endif
  place = {launch.rank, launch.size};
  comm::Socket listener;
  if (launch.rank == 0) {
    listener = comm::listen_at(launch.address, launch.port);
    launch.port = comm::local_port(listener);
  }
#if CUBOID_MPI
  if (launch.mpi) {
    const Json where = Json::parse(comm::mpi_broadcast(Json::array({launch.address, launch.port}).dump()), "rank 0's address");
    launch.address = where[0].as_string();
    launch.port = static_cast<int>(where[1].as_int());
  }
#endif
  const auto alarm = std::make_shared<Alarm>();
  alarm->on_lost = std::move(options.on_lost);
  watch = std::make_shared<comm::Watch>(launch, comm::meet(launch, listener),
                                        [alarm](const std::string& what) { alarm->ring(what); });
  listener.close();
#if CUBOID_MPI
  if (launch.mpi) wire = comm::mpi_wire(watch);
#endif
  if (!wire) wire = comm::tcp_wire(watch);
#if CUBOID_NCCL
  if (options.device == Device::cuda) {
    std::string identity = place.rank == 0 ? comm::nccl_identity() : std::string();
    identity.resize(static_cast<std::size_t>(comm::nccl_identity_bytes));
    comm::copy_from(*wire, place, 0, identity.data(), comm::nccl_identity_bytes);
    device = comm::nccl_wire(watch, identity);
    const std::scoped_lock lock(alarm->guard);
    alarm->device = device;
  }
#endif
}

Group::Group() : p_(std::make_unique<Impl>()) {}
Group::Group(const Launch& launch, JoinOptions options) : Group() { p_->join(launch, std::move(options)); }
Group::Group(std::unique_ptr<Impl> impl) : p_(std::move(impl)) {}
Group::~Group() = default;

int Group::rank() const { return p_->place.rank; }
int Group::size() const { return p_->place.size; }
std::string Group::transport() const {
  return p_->wire ? std::string(p_->wire->name()) + (p_->device ? join_text('+', p_->device->name()) : "") : "none";
}

void Group::all_reduce(const Tensor& x) const {
  if (size() == 1 || dense_size("all_reduce", x) == 0) return;
  p_->watch->check_all();
  if (x.device() != Device::cpu) {
#if CUBOID_CUDA
    if (p_->device) return p_->device->all_reduce(x.mutate().data, x.size(), x.dtype(), cuda::stream());
#endif
    const Tensor host = host_copy(x);
    all_reduce(host);
    return copy(host, x);
  }
  if (p_->worker.joinable()) start_all_reduce(x)->wait();  // behind what was started before
  else p_->sum_on_host(x);
}

std::unique_ptr<Pending> Group::start_all_reduce(const Tensor& x) const {
  if (size() == 1 || dense_size("all_reduce", x) == 0) return std::make_unique<Nothing>();
  p_->watch->check_all();
#if CUBOID_CUDA
  if (x.device() != Device::cpu && p_->device) {
    if (!p_->side) p_->side.emplace();
    auto queued = std::make_unique<Queued>(x);
    cuda::Event written;
    written.record();
    written.wait(*p_->side);
    p_->device->all_reduce(x.mutate().data, x.size(), x.dtype(), *p_->side);
    queued->done.record(*p_->side);
    return queued;
  }
#endif
  auto job = std::make_shared<Job>();
  job->host = x.device() == Device::cpu ? x.detach() : host_copy(x);
  if (x.device() != Device::cpu) job->target = x.detach();
  p_->start(job);
  return std::make_unique<JobHandle>(job);
}

void Group::broadcast(const Tensor& x, int root) const {
  if (size() == 1 || dense_size("broadcast", x) == 0) return;
  p_->watch->check_all();
  if (x.device() == Device::cpu) return comm::copy_from(*p_->wire, p_->place, root, x.mutate().data, x.view().bytes());
#if CUBOID_CUDA
  if (p_->device) return p_->device->broadcast(x.mutate().data, x.view().bytes(), root, cuda::stream());
#endif
  const Tensor host = host_copy(x);
  broadcast(host, root);
  copy(host, x);
}

std::string Group::broadcast(const std::string& text, int root) const {
  if (size() == 1) return text;
  const Tensor length = full({1}, static_cast<double>(text.size()), {.dtype = DType::i64});
  broadcast(length, root);
  std::string result = text;
  result.resize(static_cast<std::size_t>(length.item()));
  if (!result.empty()) comm::copy_from(*p_->wire, p_->place, root, result.data(), static_cast<std::int64_t>(result.size()));
  return result;
}

Tensor Group::all_gather(const Tensor& x) const {
  check(x.is(Layout::contiguous), "all_gather: the tensor of shape ", x.shape(), " does not lie densely");
  Shape shape{size()};
  for (int i = 0; i < x.rank(); ++i) shape.push_back(x.dim(i));
  const Tensor all = empty(shape, {x.dtype(), x.device()});
  if (x.size() == 0) return all;
  if (size() == 1) {
    copy(x, Tensor(all.storage(), 0, x.shape(), dense_strides(x.shape()), x.dtype()));
    return all;
  }
  p_->watch->check_all();
  if (x.device() == Device::cpu) {
    comm::gather_all(*p_->wire, p_->place, x.view().data, all.mutate().data, x.view().bytes());
    return all;
  }
#if CUBOID_CUDA
  if (p_->device) {
    p_->device->all_gather(x.view().data, all.mutate().data, x.view().bytes(), cuda::stream());
    return all;
  }
#endif
  copy(all_gather(host_copy(x)), all);
  return all;
}

void Group::barrier() const { all_gather(zeros({1}, {.dtype = DType::u8})); }

std::unique_ptr<Group> Group::another() const {
  auto impl = std::make_unique<Impl>();
  impl->place = p_->place;
  impl->watch = p_->watch;
  impl->device = p_->device;
  if (p_->wire) impl->wire = p_->wire->another();
  return std::unique_ptr<Group>(new Group(std::move(impl)));
}

}  // namespace cuboid
