#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Breaks the rules of core/ one at a time, in a copy, and expects the simulator to find out; or, where
# the script says so, a unit test.
# usage: mutants.sh [WORD]   only mutants whose names hold WORD
set -u
cd "$(dirname "$0")/../.." || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
only=${1:-}
passed=0 failed=0
flags="-std=gnu11 -O2 -D_GNU_SOURCE -I$dir/clusterd -I$dir/tests/sim"

cp -r clusterd plugins "$dir/" && mkdir "$dir/tests" "$dir/o" "$dir/unit" && cp -r tests/sim tests/unit "$dir/tests/" || exit 1
sources="$(ls "$dir"/clusterd/core/*.c "$dir"/tests/sim/*.c) $dir/clusterd/wire/msg.c
	$dir/clusterd/util/addr.c $dir/clusterd/util/buf.c $dir/clusterd/util/jhash.c"
for c in $sources; do
	o=$dir/o/$(echo "${c#"$dir"/}" | tr / _).o
	${CC:-gcc} $flags -c -o "$o" "$c" || exit 1
done
for p in load wlc memory-1 memory-2; do
	${CC:-gcc} $flags -Dclusterd_plugin=clusterd_plugin_policy_${p//-/_} -c -o "$dir/o/policy-$p.o" \
		"$dir/plugins/policy-$p.c" || exit 1
done

# The objects but those of the simulator: for unit tests.
core_objects() { ls "$dir"/o/*.o | grep -v '/tests_sim_'; }

unit_build() { ${CC:-gcc} $flags -w -o "$dir/unit/$1" "$dir/tests/unit/${1}_test.c" $(core_objects) -lcmocka; }

# unit_mutant NAME FILE SED TEST   TEST_test is to fail; without the change it must not
unit_mutant()
{
	local name=$1 file=clusterd/core/$2 edit=$3 test=$4 out status
	case $name in *"$only"*) ;; *) return ;; esac
	local o=$dir/o/$(echo "$file" | tr / _).o
	sed -E "$edit" "$file" > "$dir/$file"
	cp "$o" "$dir/keep.o"
	if cmp -s "$file" "$dir/$file"; then
		echo "not ok - $name: the rule is not where it was"
		failed=$((failed + 1))
	elif ! { [ -e "$dir/unit/$test.good" ] || { unit_build "$test" && timeout 60 "$dir/unit/$test" >/dev/null 2>&1; }; }; then
		echo "not ok - $name: ${test}_test fails anyway"
		failed=$((failed + 1))
	elif ! touch "$dir/unit/$test.good" || ! ${CC:-gcc} $flags -w -c -o "$o" "$dir/$file" || ! unit_build "$test"; then
		echo "not ok - $name: does not compile"
		failed=$((failed + 1))
	elif out=$(timeout 60 "$dir/unit/$test" 2>&1); status=$?; [ $status = 0 ] || [ $status = 124 ]; then
		echo "not ok - $name: ${test}_test does not fail"
		failed=$((failed + 1))
	else
		echo "ok - $name: $(echo "$out" | sed -n 's/^\[  FAILED  \] \([a-z_]*\)$/\1/p' | sort -u | tr '\n' ' ')"
		passed=$((passed + 1))
	fi
	cp "$dir/keep.o" "$o"
	cp "$file" "$dir/$file"
}

# mutant NAME FILE SED FIRST-SEED SEEDS SCENARIO...  (where it was found, to be quick)
# FILE: of core/, or sim/FILE: of the simulator's kernels, for rules that the kernel has to keep
mutant()
{
	local name=$1 file=$2 edit=$3 first=$4 seeds=$5 out status
	shift 5
	case $name in *"$only"*) ;; *) return ;; esac
	case $file in sim/*) file=tests/$file ;; *) file=clusterd/core/$file ;; esac
	local o=$dir/o/$(echo "$file" | tr / _).o
	sed -E "$edit" "$file" > "$dir/$file"
	if cmp -s "$file" "$dir/$file"; then
		echo "not ok - $name: the rule is not where it was"
		failed=$((failed + 1))
		return
	fi
	cp "$o" "$dir/keep.o"
	if ! ${CC:-gcc} $flags -w -c -o "$o" "$dir/$file" ||
	   ! ${CC:-gcc} -o "$dir/sim" "$dir"/o/*.o; then
		echo "not ok - $name: does not compile"
		failed=$((failed + 1))
	elif out=$(timeout 100 "$dir/sim" -x -s "$first" -c "$seeds" "$@"); status=$?; [ $status != 1 ]; then
		echo "not ok - $name: not found in $seeds seeds of $* (exit status $status)"
		failed=$((failed + 1))
	else
		echo "ok - $name: $(echo "$out" | sed -n 's/^\([^ ]*\) *\([0-9]*\) seeds.*FAILED$/\1, \2 seeds/p')"
		passed=$((passed + 1))
	fi
	cp "$dir/keep.o" "$o"
	cp "$file" "$dir/$file"
}

# the lease
mutant "an expired grant is given again at once" lease.c \
	'/^static void heard_admitted/,/^}/s/if \(p->grant == GRANT_GRANTING\)/if ((p->grant = GRANT_GRANTING))/' 400 200 flap-all
mutant "a lapsed lease comes back by itself" lease.c \
	'/^static void become_fenced/,/^}/s/l->term = 0;//' 1 100 isolated
mutant "no margin for clocks and timers" lease.c \
	's/return lease_us \/ 10 \+ 5000;/return 0;/' 200 800 isolated
mutant "a grant lasts from when its echo arrives" lease.c \
	's/if \(l->term && h->echo_seq >= l->seq_min && sent \+/if (l->term \&\& (sent = now_us) \&\& sent +/' 1 300 sigstop
mutant "a peer that expired is echoed" lease.c \
	'/^static bool may_echo/,/^}/s/p->grant == GRANT_GRANTING;/true;/' 1 500 flap-all
mutant "half of the nodes is a majority" lease.c \
	's/return n \/ 2 \+ 1;/return n > 2 ? n \/ 2 : n \/ 2 + 1;/' 1 100 isolated
mutant "one report too few makes a peer lost" lease.c \
	'/^static unsigned int reports_needed/,/^}/s/return votes_needed\(l\);/return votes_needed(l) - 1;/' 1 100 partial-cut
mutant "the witness's answer alone makes a peer lost" lease.c \
	's/return witness_says_lost\(l, now_us\) \? 1 : 0;/return l->witness_until_us > now_us ? 1 : 0;/' 1 1000 two-witness

# moves
mutant "PREPARE does not wait for everybody" repl.c \
	'/^static void advance_plan/,/^}/s/if \(online & ~r->acks\)/if (false)/' 800 600 flap-all move-loss
mutant "an heir who knows of the move takes the bucket" repl.c \
	's/return k->other == self && is_heir/return is_heir/' 1 1000 move-loss
unit_mutant "a survivor of a hand-over goes by heir()" repl.c \
	'/^bool repl_inherits/,/^}/s/return k->other == self;/return is_heir(r, service, b, self, lost);/' compile
mutant "no grace for a crashed daemon" repl.c \
	'/^static void await_return/,/^}/s/\? PHASE_GRACE : PHASE_STABLE/? PHASE_STABLE : PHASE_STABLE/; /^static void await_return/,/^}/s/\.other = \(uint8_t\)crashed/.other = 0/' 1 100 crash-restart
mutant "a new owner that crashes in the middle of a drain is not awaited" repl.c \
	'/^static void drain_without_owner/,/^}/s/if \(crash\)/if (false)/' 1 100 move-crash
mutant "the end of a drain forgets the third" repl.c \
	'/^static void end_drain/,/^}/s/if \(!third \|\|/if (true ||/' 1 100 move-crash
unit_mutant "the third is not let in before its turn" compile.c 's/if \(k->third == self\)/if (false)/' compile
mutant "steps are told before the kernel has them" agent.c \
	'/^static void tick_plan_steps/,/^}/s/a->installed != a->version/false/' 1 200 flap-all planned
mutant "ACK without a lease" agent.c \
	'/^static void tick_plan_steps/,/^}/s/\|\| !a->leased/|| false/' 600 800 sigstop isolated
mutant "ADOPTED while old owners are still to leave" agent.c \
	's/!repl_count\(a->repl, PHASE_HANDOFF, NOBODY, a->p.self\) && //' 1 500 power-off planned
mutant "admission before the table is installed" agent.c \
	'/^static void follow_self/,/^}/s/a->installed == a->version && //' 1350 200 move-loss
mutant "a new owner resets what its predecessor serves" compile.c \
	's/act\(BUCKET_ADOPTING, knower\(r, k, lost\)\) : act\(BUCKET_DRAINING, to\)/act(BUCKET_MINE, NOBODY) : act(BUCKET_DRAINING, to)/' 1 100 planned
mutant "nobody takes what is handed over" compile.c \
	's/act\(BUCKET_LEAVING, k->other\) : act\(BUCKET_ARRIVING, to\)/act(BUCKET_LEAVING, k->other) : act(BUCKET_FOREIGN, to)/' 1 100 planned
mutant "both sides of a hand-over accept" compile.c \
	's/owner \? act\(BUCKET_ADOPTING, knower\(r, k, lost\)\) : act\(BUCKET_LEAVING, to\)/act(BUCKET_ADOPTING, NOBODY)/' 1 100 planned
mutant "old connections end before all fronts know the new owner" agent_drain.c \
	'/^static bool needed/,/^}/s/return plan &&/return false \&\& plan \&\&/' 1 200 planned
mutant "a new owner does not hand what it does not know to the old one" compile.c \
	'/^static unsigned int knower/,/^}/s/return k->other &&/return false \&\& k->other \&\&/' 1 100 planned
mutant "what a new owner hands to the old one is dropped there" sim/packet.c \
	's/return FORWARD;/return from == a->to ? DROP : FORWARD;/' 1 100 planned
mutant "each hands to the other what it gets from it" sim/packet.c \
	's/return from && \(two_layouts \|\| from == a->to\) \? DROP : FORWARD;/return FORWARD;/' 3043 1 rehash-loss
mutant "three hand to each other while the layout changes" sim/packet.c \
	's/\(two_layouts \|\| from == a->to\)/from == a->to/' 493 1 rehash-loss
mutant "a new owner takes what anybody hands it" sim/packet.c \
	's/return from && from == a->to \? ACCEPT : FORWARD;/return ACCEPT;/' 1 100 planned
mutant "a VIP waits for a plan to get another holder" repl.c \
	's/fx->tables \|= repl_hold\(r\);//' 1 100 power-off
mutant "VIPs are not spread" repl.c \
	's/repl_hold_plan\(r, r->holder\);//' 1 100 boot

# the layout
mutant "the layout changes before all are frozen" repl_layout.c \
	's/all = online && !\(online & ~r->rehash_acks\);/all = online \&\& r->rehash_acks;/' 1 200 rehash
mutant "frozen kernels take new connections" sim/kernel.c \
	's/t->freeze = repl_freeze\(r\);/t->freeze = false;/' 1 200 rehash
mutant "new connections before all have the new tables" repl_layout.c \
	'/^static void switch_over/,/^}/s/REHASH_SWITCH/REHASH_MIXED/' 150 150 rehash
mutant "a new owner resets what lives by the old layout" compile.c \
	'/^static struct bucket_action mixed/,/^}/s/BUCKET_ADOPTING/BUCKET_MINE/' 1 100 rehash
mutant "nobody asks the owner by the old layout" sim/packet.c \
	'/^static unsigned int old_owner/,/^}/s/return k->old_buckets \?/return false ?/' 1 100 rehash
mutant "the mixture ends while connections live elsewhere" agent_layout.c \
	'/^static void tick_mixed/,/^}/s/bool empty = .*/bool empty = true;/' 1 100 rehash

# agreement
mutant "messages are applied while the exchange collects" agent_exchange.c \
	'/^bool exchange_settled/,/^}/s/return .*/return true;/; s/\(a->ex->phase == EX_SNAP && !a->ex->hold\);//' 1 500 flap-all
mutant "terms come again in another history" repl.c \
	's/\(uint32_t\)\(repl_mix\(0, r->lineage\) >> 32\)/0/' 51100 100 random
mutant "what came during the exchange is forgotten" agent_exchange.c \
	'/^static void replay/,/^}/s/i < e->n_kept/i < 0/' 1 300 boot partition flap-all
mutant "a plan knows nothing of shares" repl.c \
	'/^static void apply_plan/,/^}/s/k->other = \(uint8_t\)to;/k->other = k->flows ? to : (to % r->p.n_nodes) + 1;/' 1 50 boot

# loads
mutant "shares jump" weigh.c \
	's/if \(!p->direct && moves > limit\)/if (false)/' 1 20 load-half
mutant "loads are told as they are just now" report.c \
	's/\(2 \* \(int64_t\)r->load \+ x \+ 1\) \/ 3/x/' 1 40 load-noisy
mutant "a load is told as often as it is sampled" report.c \
	's/now - r->told_at < REPORT_REFRESH_MS && !news\(r, out\)/false/' 1 10 load-step
mutant "factors are not in the snapshot" repl_snap.c \
	's/n->factor\[s\] = buf_get16\(b\);/buf_get16(b); n->factor[s] = 1000;/' 1 100 weigh-random
mutant "busy nodes get others back" agent_load.c \
	's/bool patient = now/return true; bool patient = now/' 1 20 never-busy
mutant "a returned node has its whole share at once" repl.c \
	's/RAMP_START 100/RAMP_START 1000/' 1 20 slow-start
mutant "slow start is not slow" agent_load.c \
	's/slow_start_ms \/ RAMP_STEPS/slow_start_ms \/ (10 * RAMP_STEPS)/' 1 20 slow-start

# health
mutant "who is down keeps its buckets" weigh.c \
	's/\(!\(level & ALSO_UNFIT\) && !repl_fit\(r, service, id\)\)/false/' 1 20 health
mutant "a neighbour's verdict is taken from anybody" weigh.c \
	's/ \|\| m->from != right\)/)/; s/seen_down\[service\] == right &&/seen_down[service] \&\&/' 1 20 peer
mutant "a verdict about our service is said once" agent_health.c \
	's/agent_due\(&a->health_sent\[service\], 1 \+ \(uint64_t\)h, now\)/a->health_sent[service].what != 1 + (uint64_t)h \&\& agent_due(\&a->health_sent[service], 1 + (uint64_t)h, now)/' 1 200 weigh-random
mutant "who comes back counts as fit until it says otherwise" agent.c \
	's/m.u.ready.health\[s\] = .*;/m.u.ready.health[s] = FITNESS_UP;/' 1 40 sorry
mutant "who is down is waited for" agent_drain.c \
	'/^static bool hopeless/,/^}/s/return draining_here/return false \&\& draining_here/' 1 60 health
mutant "what an unfit node is just getting stays there" weigh.c \
	'/^static unsigned int restore_to/,/^}/s/k->phase == PHASE_DRAIN/false/' 1 100 health
mutant "all is lost when nobody is fit" weigh.c \
	's/level < LEVELS && !any/level < ALSO_UNFIT \&\& !any/' 1 20 sorry
mutant "health waits for the next plan" agent_note.c \
	'/case NOTE_SORRY/,/break/s/agent_plan_soon\(a, now\);/agent_plan_soon(a, now + 1000);/' 1 20 health

# the same, where only a unit test looks closely enough
unit_mutant "a stale IDLE is believed" weigh.c \
	's/m->u.idle.epoch < r->moved\[s\]/false/' reweigh
unit_mutant "what hardly matters moves buckets" weigh.c \
	's/#define HYSTERESIS 16/#define HYSTERESIS 100000/' reweigh
unit_mutant "a verdict stands when its neighbour has gone" weigh.c \
	's/seen_down\[service\] == right &&/seen_down[service] \&\&/; /^void repl_forget_verdicts/,/^}/s/void_verdict\(r, s, i, fx\);/;/' agent_weigh
unit_mutant "idle buckets do not go first" weigh.c \
	's/r->first\[b\] = k->idle;/r->first[b] = 0;/' agent_weigh
unit_mutant "silence counts as calm" agent_load.c \
	's/s->load > a->p.busy : patient/s->load > a->p.busy : false/' agent_weigh
unit_mutant "nobody says which buckets are idle" agent_load.c \
	'/^bool load_wants_idle/,/^}/s/return target\[a->p.self\] <.*/return false;/' agent_weigh
unit_mutant "the next coordinator begins at once" agent_load.c \
	'/^void load_reweighed/,/^}/s/a->next_reweigh\[n->n\] = .*//' agent_weigh
unit_mutant "the last fit node is accused" weigh.c \
	's/ && repl_another_fit\(r, s, id\)\)/)/' weigh
unit_mutant "a load is told more often than once a second" report.c \
	's/now - r->told_at < REPORT_MIN_MS \|\|/false ||/' report

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
