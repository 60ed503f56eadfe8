package contract

import (
	"time"

	"golang.org/x/sys/unix"
)

// now returns CLOCK_MONOTONIC in nanoseconds, which all processes of a machine share.
func now() uint64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // The kernel always has this clock.
	}
	return uint64(t.Nano())
}

// until returns the time until the clock shows at; it is negative when that has passed.
func until(at uint64) time.Duration {
	return time.Duration(int64(at) - int64(now()))
}

// sleepUntil waits until the clock shows at.
func sleepUntil(at uint64) {
	time.Sleep(until(at))
}
