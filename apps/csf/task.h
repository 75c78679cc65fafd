// SPDX-License-Identifier: Apache-2.0
// A task: which patients form which class, and which folder belongs to which patient.
//
//   folders:                       # optional: <data_root>/<folder>/*.npy -> patient
//     20221011_csf: 1
//   virus_others:                  # one or several tasks
//     celltype: csf
//     group1: Virus                # class 0
//     group1_patients: [1, 4, 7]
//     group1_test: [7]             # optional: held out of every fold
//     group2: Others
//     group2_patients: [2, 3]
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace cuboid::csf {

struct TaskClass {
  std::string name;
  std::vector<std::string> patients;
  std::vector<std::string> held_out;  // a subset of patients
};

struct Task {
  std::string name, celltype;
  std::vector<TaskClass> classes;
  std::map<std::string, std::string> folders;  // folder name -> patient; "_csf" at the end may be left out
};

/// All tasks of a file. DataError with file and line: not YAML, larger than 1 MiB, nested too deeply, an unknown field,
/// a class without patients, a patient in two classes, a folder given twice.
std::vector<Task> read_tasks(const std::filesystem::path& file);
/// One of them; an empty name asks for the only one. DataError that lists the names there are.
Task read_task(const std::filesystem::path& file, const std::string& name = "");

/// `name_or_file` itself when it is a file, else the task file of that name that comes with the program.
std::filesystem::path find_task_file(const std::string& name_or_file);
/// Names of the task files that come with the program.
std::vector<std::string> shipped_tasks();

/// The task's cells below `root`: folders of the map, or, when root has a labels.csv with a patient (group) column, its rows.
/// Cells of patients the task does not name are left out. DataError when a class has no cell.
Dataset open_task(const std::filesystem::path& root, const Task& task, const DatasetOptions& options = {});

}  // namespace cuboid::csf
