# Sidekiq's job: takes SECONDS, then writes its id into the list "done". "job begins" and "job done" on stdout.

require "sidekiq"

class Job
  include Sidekiq::Worker

  def perform(seconds)
    $stdout.syswrite("job begins\n")
    sleep(seconds)
    Sidekiq.redis { |redis| redis.rpush("done", jid) }
    $stdout.syswrite("job done\n")
  end
end
