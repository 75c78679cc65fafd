// SPDX-License-Identifier: Apache-2.0
#include "tests/files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>

#include "core/files.h"
#include "core/random.h"

using namespace cuboid;
using test::error_of, test::TempFolder, test::slurp, test::spit;

namespace {

std::size_t entries(const std::filesystem::path& folder) { return test::files_in(folder).size(); }

TEST(Files, Crc32cKnownAnswers) {
  // RFC 3720, appendix B.4.
  EXPECT_EQ(crc32c("123456789", 9), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0').data(), 32), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff').data(), 32), 0x62a8ab43u);
  EXPECT_EQ(hex8(0x0a9136aa), "0a9136aa");
  const std::string text = "The quick brown fox jumps over the lazy dog, several times.";
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(crc32c(text.data() + cut, text.size() - cut, crc32c(text.data(), cut)), crc32c(text.data(), text.size()));
}

TEST(Files, WritesWholeFiles) {
  const TempFolder folder;
  const auto path = folder / "a.txt";
  atomic_write(path, "one");
  EXPECT_EQ(slurp(path), "one");
  const std::string large(1'000'003, 'x');
  atomic_write(path, [&](FileWriter& out) {
    out.write("head");
    out.write(large);
    out.write("tail");
    EXPECT_EQ(out.written(), 1'000'011);
  });
  EXPECT_EQ(slurp(path), "head" + large + "tail");
  EXPECT_EQ(entries(folder.path()), 1u) << "nothing else is left";
  struct stat s;
  ASSERT_EQ(stat(path.c_str(), &s), 0);
  const mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(s.st_mode & 0777u, 0666u & ~mask);
}

TEST(Files, KeepsTheOldFileWhenTheWriterThrows) {
  const TempFolder folder;
  const auto path = folder / "a.txt";
  atomic_write(path, "old");
  EXPECT_THROW(atomic_write(path,
                            [](FileWriter& out) {
                              out.write("half of the new");
                              throw OutOfMemory("midway");
                            }),
               OutOfMemory);
  EXPECT_EQ(slurp(path), "old");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(Files, FullDiskKeepsTheOldFile) {
  EXPECT_EQ(error_of([] { atomic_write("/dev/full", "text"); }),
            "/dev/full: write failed: No space left on device; free some space and try again");
  EXPECT_NE(error_of([] { atomic_write("/dev/full", std::string(1 << 20, 'x')); }), "");

  // A limit on the size of files stands for a full disk: write() fails in the same place.
  const TempFolder folder;
  const auto path = folder / "a.txt";
  atomic_write(path, "old");
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100'000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string text = error_of([&] { atomic_write(path, std::string(1 << 20, 'x')); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(text, path.string() + ": write failed: File too large");
  EXPECT_EQ(slurp(path), "old");
  EXPECT_EQ(entries(folder.path()), 1u);
}

TEST(Files, SaysWhatCannotBeWritten) {
  const TempFolder folder;
  EXPECT_EQ(error_of([&] { atomic_write(folder.path(), "x"); }), folder.path().string() + ": is a folder");
  EXPECT_EQ(error_of([&] { atomic_write(folder / "no/a.txt", "x"); }),
            (folder / "no/a.txt").string() + ": cannot write: there is no folder " + (folder / "no").string());
  const bool root = geteuid() == 0;  // who may write everywhere: step down for a moment
  std::filesystem::permissions(folder.path(), std::filesystem::perms{0555});
  ASSERT_EQ(root ? seteuid(65'534) : 0, 0);
  const std::string text = error_of([&] { atomic_write(folder / "a.txt", "x"); });
  ASSERT_EQ(root ? seteuid(0) : 0, 0);
  std::filesystem::permissions(folder.path(), std::filesystem::perms::owner_all);
  EXPECT_EQ(text, (folder / "a.txt").string() + ": cannot write: Permission denied; is the folder writable?");
}

TEST(Files, LinksAreFollowed) {
  const TempFolder folder;
  spit(folder / "real", "old");
  std::filesystem::create_symlink("real", folder / "link");
  atomic_write(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(slurp(folder / "real"), "new");
}

TEST(Files, KilledWritersLeaveOldOrNew) {
  const TempFolder folder;
  const auto path = folder / "state";
  const auto content = [](int i) { return std::to_string(i) + std::string(200'000, static_cast<char>('a' + i % 26)); };
  atomic_write(path, content(0));
  Random random({.seed = 12});
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (int i = 0;; ++i) atomic_write(path, content(i));
    }
    usleep(static_cast<useconds_t>(500 + random.below(5000)));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    const std::string found = slurp(path);
    ASSERT_EQ(found, content(std::stoi(found))) << "a torn file";
  }
  spit(folder / ".mine.unfinished", "not made by atomic_write");
  sweep_unfinished_writes(folder.path());
  EXPECT_EQ(entries(folder.path()), 2u) << "state and the file that is not ours";
}

TEST(Files, ReadsWithALimit) {
  const TempFolder folder;
  spit(folder / "a", "12345");
  EXPECT_EQ(read_file(folder / "a"), "12345");
  EXPECT_THROW(read_file(folder / "a", 4), DataError);
  EXPECT_THROW(read_file(folder / "none"), DataError);
  EXPECT_THROW(read_file(folder.path()), DataError);
  EXPECT_THROW(read_file("/dev/zero"), DataError);
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(read_file(folder / "pipe"), DataError) << "and does not wait for a writer";
  const FileReader file(folder / "a");
  EXPECT_EQ(file.read_at(1, 3), "234");
  EXPECT_THROW(file.read_at(3, 3), DataError);
  EXPECT_THROW(file.read_at(-1, 1), DataError);
}

}  // namespace
