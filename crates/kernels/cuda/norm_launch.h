// How the kernels of norm.cu are started: how many threads have a row, and how rows are dealt out to blocks.
#pragma once

#include "norm_tensors.h"

namespace rectify {

// A row is the work of a team of `lanes` threads, each with `groups` groups of 16 bytes (of the
// wide type) of it. A team has 8, 16 or 32 lanes, or whole warps. A block has 256 threads in as
// many teams as fit, or one team of more.
struct Teams {
  int lanes, teams, groups;
  unsigned blocks;
};

// How a thread reads and writes its part of a row; kernels are compiled for one of them.
enum class RowAccess {
  Spread,   // rows are not a multiple of 16 bytes long: elements lie `lanes` apart
  Grouped,  // groups of 16 bytes lie together, but some tensor does not begin on a multiple of them: element by element
  Words,    // groups of 16 bytes, each in one access
};

// What is added to x before it is normalized; kernels are compiled for one of them.
enum class RowBranch { None, Plain, Scaled };

constexpr int TEAM_THREADS = 256;
constexpr int MOST_LANES = 512;

// What a thread has of a row stays in registers, backward with the sums of its columns, and
// arithmetic in f64 needs more of them.
constexpr int most_groups(int element_bytes) { return element_bytes == 8 ? 3 : 4; }

// The longest row that kernels take: 6144 elements of f32. With four groups, 512 threads would
// spill.
constexpr int64_t longest_row(int element_bytes) { return (int64_t)MOST_LANES * 3 * (16 / element_bytes); }

// Nothing but the shape decides, since the order of sums follows from it. `all.columns` is at most
// `longest_row`.
//
// The number of blocks: 1056 is eight for each of the 132 processors of an H100 or H200, so two or
// four that fit at once come to whole waves. Backward, each block leaves sums behind, which are
// little beside the tensor; forward, each goes on to further rows.
constexpr Teams teams_of(Rows all, int element_bytes) {
  const int64_t words = (all.columns * element_bytes + 15) / 16;
  Teams teams = {8, 1, 0, 0};
  while (teams.lanes < 32 && words > teams.lanes) teams.lanes *= 2;
  while (teams.lanes < MOST_LANES && words > (int64_t)teams.lanes * most_groups(element_bytes)) teams.lanes *= 2;
  if (teams.lanes < TEAM_THREADS) teams.teams = TEAM_THREADS / teams.lanes;
  teams.groups = (int)((words + teams.lanes - 1) / teams.lanes);
  const int64_t blocks = (all.end + teams.teams - 1) / teams.teams;
  teams.blocks = (unsigned)(blocks > 1056 ? 1056 : blocks);
  return teams;
}

// As the preprocessor gets them in ROW_ACCESS and ROW_BRANCH.
constexpr const char* name_of(RowAccess access) {
  return access == RowAccess::Words ? "Words" : access == RowAccess::Grouped ? "Grouped" : "Spread";
}
constexpr const char* name_of(RowBranch branch) {
  return branch == RowBranch::Scaled ? "Scaled" : branch == RowBranch::Plain ? "Plain" : "None";
}

}  // namespace rectify
