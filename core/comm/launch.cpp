// SPDX-License-Identifier: Apache-2.0
#include "core/comm/launch.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace cuboid {
namespace {

const char* text_of(const char* name) {
  const char* text = std::getenv(name);
  return text && *text ? text : nullptr;
}

int number_of(const char* name, int lowest, int highest) {
  const char* text = text_of(name);
  check(text, "ranks: the variable ", name, " is missing\nhint: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT belong together");
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  check(error == std::errc() && stop == end && value >= lowest && value <= highest, "ranks: ", name, " is '", text,
        "', must be a number from ", lowest, " to ", highest);
  return value;
}

double seconds_of(const char* name, double otherwise) {
  const char* text = text_of(name);
  if (!text) return otherwise;
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  check(*end == '\0' && value > 0, "ranks: ", name, " is '", text, "', must be a number of seconds");
  return value;
}

/// The first of these that is set.
const char* first_set(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (text_of(name)) return name;
  return nullptr;
}

constexpr int most_ranks = 1 << 20;

void read_master(Launch& launch) {
  const char* address = text_of("MASTER_ADDR");
  check(address, "ranks: the variable MASTER_ADDR is missing: where rank 0 of ", launch.size, " listens");
  launch.address = address;
  launch.port = number_of("MASTER_PORT", 1, 65535);
  // torchrun itself listens at MASTER_PORT for its workers' store; ours is the next one.
  if (const char* store = text_of("TORCHELASTIC_USE_AGENT_STORE"); store && std::strcmp(store, "True") == 0)
    launch.port = launch.port < 65535 ? launch.port + 1 : launch.port - 1;
}

}  // namespace

Launch launch_of_environment() {
  Launch launch;
  launch.join_seconds = seconds_of("CUBOID_JOIN_SECONDS", launch.join_seconds);
  launch.silence_seconds = seconds_of("CUBOID_SILENCE_SECONDS", launch.silence_seconds);
  if (text_of("RANK") || text_of("WORLD_SIZE")) {
    launch.size = number_of("WORLD_SIZE", 1, most_ranks);
    launch.rank = number_of("RANK", 0, launch.size - 1);
    launch.local_rank = text_of("LOCAL_RANK") ? number_of("LOCAL_RANK", 0, most_ranks) : 0;
    if (launch.size > 1) read_master(launch);
    return launch;
  }
  const char* size = first_set({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"});
  const char* rank = first_set({"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"});
  if (rank && !size) size = first_set({"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"});  // srun --mpi=pmix
  if (!rank || !size) return launch;
  launch.mpi = true;
  launch.size = number_of(size, 1, most_ranks);
  launch.rank = number_of(rank, 0, launch.size - 1);
  if (const char* local = first_set({"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}))
    launch.local_rank = number_of(local, 0, most_ranks);
  if (text_of("MASTER_ADDR") && text_of("MASTER_PORT")) read_master(launch);
  return launch;
}

void use_local_device(const Launch& launch) {
  if (launch.size == 1) return;
  std::string mine = std::to_string(launch.local_rank);
  if (const char* visible = text_of("CUDA_VISIBLE_DEVICES")) {
    const std::string all = visible;
    if (all.find(',') == std::string::npos) return;
    std::size_t begin = 0;
    for (int i = 0; i < launch.local_rank && begin != std::string::npos; ++i) {
      const std::size_t comma = all.find(',', begin);
      begin = comma == std::string::npos ? comma : comma + 1;
    }
    check<DeviceError>(begin != std::string::npos, "ranks: process ", launch.local_rank,
                       " of this machine has no device of its own: CUDA_VISIBLE_DEVICES=", all);
    mine = all.substr(begin, all.find(',', begin) - begin);
  }
  setenv("CUDA_VISIBLE_DEVICES", mine.c_str(), 1);
}

}  // namespace cuboid
