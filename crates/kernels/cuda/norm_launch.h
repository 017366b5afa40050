// How the kernels of norm.cu are started: how many threads have a row, and how rows are dealt out to blocks.
#pragma once

#include "norm_tensors.h"

namespace rectify {

// A row is the work of a team of `lanes` threads, whole warps, each with `groups` groups of 16 bytes of it. Blocks have 256
// threads, and so eight teams of one warp, or one of more.
struct Teams {
  int lanes, teams, groups;
  unsigned blocks;
};

constexpr int MOST_GROUPS = 4;  // what a thread has of a row stays in registers, sums of columns included
constexpr int MOST_LANES = 1024;
constexpr int TEAM_THREADS = 256;

// `groups` is 0 where a row is too long. Nothing but the shape decides, since the order of sums follows from it. Backward, each
// block leaves sums behind, so there are no more blocks than make several for each processor of the largest GPU.
inline Teams teams_of(Rows all, int element_bytes, bool backward) {
  const int64_t width = 16 / element_bytes;
  Teams teams = {32, 1, 0, 0};
  while (teams.lanes < MOST_LANES && all.columns > teams.lanes * width * MOST_GROUPS) teams.lanes *= 2;
  if (teams.lanes < TEAM_THREADS) teams.teams = TEAM_THREADS / teams.lanes;
  const int64_t groups = (all.columns + teams.lanes * width - 1) / (teams.lanes * width);
  if (groups <= MOST_GROUPS) teams.groups = (int)groups;
  const int64_t blocks = (all.end + teams.teams - 1) / teams.teams;
  teams.blocks = (unsigned)(backward && blocks > 1024 ? 1024 : blocks);
  return teams;
}

}  // namespace rectify
