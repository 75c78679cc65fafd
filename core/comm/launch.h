// SPDX-License-Identifier: Apache-2.0
// Which of how many processes this one is, as the launcher's environment says.
#pragma once
#include <string>

namespace cuboid {

struct Launch {
  int rank = 0, size = 1;
  int local_rank = 0;   // among the processes of this machine
  std::string address;  // where rank 0 listens: MASTER_ADDR, MASTER_PORT
  int port = 0;
  bool mpi = false;           // started by mpirun, or by srun with PMI: rank and size come from MPI itself where the build has it
  double join_seconds = 120;  // until all must have met: CUBOID_JOIN_SECONDS
  double silence_seconds = 30;  // without a sign of life, after which a process is given up: CUBOID_SILENCE_SECONDS
};

/// torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), else those of mpirun or srun, else one
/// process. Error that names a variable which is missing or is no number.
Launch launch_of_environment();

/// Lets this process see one GPU only, its own (CUDA_VISIBLE_DEVICES by local rank), so that it is device 0 to every thread.
/// Call it before anything asks for a device. Leaves the variable as it is where a launcher gave each process its own already.
void use_local_device(const Launch& launch);

}  // namespace cuboid
