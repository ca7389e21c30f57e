package redisengine

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// slots is how many there are in a cluster. All keys of one hash tag are in one.
const slots = 16384

// tag returns the hash tag of a shard. With several shards, tags are chosen
// such that their slots are spread evenly over the slots of a cluster.
func tag(namespace string, number, of int) string {
	name := namespace + ":" + strconv.Itoa(number)
	if of == 1 {
		return "{" + name + "}"
	}
	for n := 0; ; n++ {
		try := name
		if n > 0 {
			try += "." + strconv.Itoa(n)
		}
		if int(crc16(0, try))%slots*of/slots == number {
			return "{" + try + "}"
		}
	}
}

// slotOf returns the slot of a key.
func slotOf(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if inner, _, ok := strings.Cut(rest, "}"); ok && inner != "" {
			key = inner
		}
	}
	return int(crc16(0, key)) % slots
}

// crc16 is the hash of Redis Cluster (CRC-16/XMODEM), continued from crc.
func crc16(crc uint16, s string) uint16 {
	for i := range len(s) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^s[i]]
	}
	return crc
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8 //nolint:gosec // it fits
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()

// channelKeys are the keys of a channel's subscribers, all in one slot, so that
// one script can see to them. The first is the name of the channel, in no
// namespace but that of Options.RedisNamespace, where the Ruby original keeps its
// subscribers, so that both may be at work on one Redis; unless they are kept
// apart.
type channelKeys [3]string

// channelTable makes the keys of channels, and remembers them.
type channelTable struct {
	namespace string
	shared    string      // what the keys start with that are shared with Ruby apps
	apart     atomic.Bool // from the keys of everybody, see names.go

	mu    sync.RWMutex
	keys  map[string]channelKeys
	tags  map[int]string // by slot
	tried int
}

// maxChannelKeys is how many channels' keys are remembered.
const maxChannelKeys = 10_000

func (t *channelTable) of(channel string) channelKeys {
	t.mu.RLock()
	keys, ok := t.keys[channel]
	t.mu.RUnlock()
	if ok {
		return keys
	}
	keys = t.make(channel)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.keys == nil || len(t.keys) >= maxChannelKeys {
		t.keys = make(map[string]channelKeys)
	}
	t.keys[channel] = keys
	return keys
}

// apartInfix is between the tag and the channel in the key of subscribers that
// are kept apart.
const apartInfix = ":subscribers:"

// make is of without remembering.
func (t *channelTable) make(channel string) channelKeys {
	shared := t.shared + channel
	tag := t.tagOf(slotOf(shared))
	members := shared
	if t.apart.Load() {
		members = tag + apartInfix + channel
	}
	return channelKeys{members, tag + ":registered:" + shared, tag + ":ends:" + shared}
}

// tagOf returns a hash tag of the namespace that lies in a slot: the first that
// does of a row of numbers, which is tried as far as it takes.
func (t *channelTable) tagOf(slot int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tags == nil {
		t.tags = make(map[int]string)
	}
	for head := crc16(0, t.namespace+":c"); t.tags[slot] == ""; t.tried++ {
		number := strconv.Itoa(t.tried)
		if s := int(crc16(head, number)) % slots; t.tags[s] == "" {
			t.tags[s] = "{" + t.namespace + ":c" + number + "}"
		}
	}
	return t.tags[slot]
}
