// Room server on the Go library centrifuge: WebSocket and JSON, anonymous clients, any channel may be subscribed and
// published to, no history or presence, compression off. centrifuge-server PORT default|delay [REDIS_ADDRESS]
//
//	default: the library's settings (no WriteDelay, MaxMessagesInFrame 16, ClientQueueMaxSize 1 MB)
//	delay:   WriteDelay 1 ms by timer, MaxMessagesInFrame -1: the best it does
//
// With the address of a Redis its Redis broker joins several of these, else it is the memory broker.
//
// GOMAXPROCS is 1, because every server has one core here.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/centrifugal/centrifuge"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func useRedis(node *centrifuge.Node, address string) {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: address})
	must(err)
	shards := []*centrifuge.RedisShard{shard}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{Shards: shards})
	must(err)
	node.SetBroker(broker)
}

func main() {
	if len(os.Args) < 3 {
		must(fmt.Errorf("usage: centrifuge-server PORT default|delay [REDIS_ADDRESS]"))
	}
	runtime.GOMAXPROCS(1)
	reply := centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}}
	if os.Args[2] == "delay" {
		reply.MaxMessagesInFrame, reply.WriteDelay, reply.WriteWithTimer = -1, time.Millisecond, true
	}
	node, err := centrifuge.New(centrifuge.Config{
		// By itself 128; here one client joins many rooms.
		ClientChannelLimit: 100000,
		LogLevel:           centrifuge.LogLevelError,
		LogHandler: func(e centrifuge.LogEntry) {
			fmt.Fprintln(os.Stderr, e.Message, e.Fields)
		},
	})
	must(err)
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return reply, nil
	})
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
			done(centrifuge.SubscribeReply{}, nil)
		})
		c.OnPublish(func(_ centrifuge.PublishEvent, done centrifuge.PublishCallback) {
			done(centrifuge.PublishReply{}, nil)
		})
	})
	if len(os.Args) > 3 {
		useRedis(node, os.Args[3])
	}
	must(node.Run())
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	must(err)
	config := centrifuge.WebsocketConfig{CheckOrigin: func(*http.Request) bool { return true }}
	must(http.Serve(listener, centrifuge.NewWebsocketHandler(node, config)))
}
