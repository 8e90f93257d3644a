# Sidekiq's job: takes SECONDS. "job begins" and "job done" on stdout.

require "sidekiq"

class Job
  include Sidekiq::Worker

  def perform(seconds)
    $stdout.syswrite("job begins\n")
    sleep(seconds)
    $stdout.syswrite("job done\n")
  end
end
